/** What is measured: the fio jobs, in the order in which every round runs them. */

export interface BenchJob {
  readonly name: string;
  readonly pattern: 'randread' | 'randwrite' | 'read' | 'write';
  readonly blockKb: number;
  readonly depth: number;
  /** A flush after so many writes; null: none. */
  readonly fsyncEvery: number | null;
}

export const JOBS: readonly BenchJob[] = [
  small('4K random write, depth 1', 'randwrite', 1),
  small('4K random read, depth 1', 'randread', 1),
  small('4K random write, depth 16', 'randwrite', 16),
  small('4K random read, depth 16', 'randread', 16),
  { name: '1M write, depth 4', pattern: 'write', blockKb: 1024, depth: 4, fsyncEvery: null },
  { name: '1M read, depth 4', pattern: 'read', blockKb: 1024, depth: 4, fsyncEvery: null },
  {
    name: '4K random write, fsync per 32',
    pattern: 'randwrite',
    blockKb: 4,
    depth: 16,
    fsyncEvery: 32,
  },
];

function small(name: string, pattern: BenchJob['pattern'], depth: number): BenchJob {
  return { name, pattern, blockKb: 4, depth, fsyncEvery: null };
}

/** Defects of the extent store: what must be durable before what. */
import { MiB } from '../../shared/base/units.ts';
import type { Mutation } from './mutation.ts';
import { all, at, losePower, restorePower } from './scripts.ts';

export const DISK_MUTATIONS: readonly Mutation[] = [
  {
    name: 'freed-slots-keep-bytes',
    defect: 'A freed slot goes to its next owner with the bytes of the former one.',
    edits: [
      {
        file: 'executor/disk/slot-allocator.ts',
        code: 'else this.#punch(batch);',
        replacement: 'else this.#finish(batch);',
      },
    ],
    breaks: ['I7'],
    trial: {
      options: { volumeCount: 3, commandIntervalMs: 1_000, thinkMs: 500, depth: 1 },
      seedsMax: 3,
    },
  },
  {
    name: 'clean-before-durable',
    defect: 'An extent is marked clean before its data and checksums are durable.',
    edits: [
      {
        file: 'executor/disk/extent-cleaner.ts',
        code: 'this.#core.syncSlabs((failure) => {\n      if (failure !== null) {\n        this.#core.fail',
        replacement:
          '((next: (failure: null) => void) => next(null))((failure) => {\n      if (failure !== null) {\n        this.#core.fail',
      },
    ],
    breaks: ['I1'],
    trial: {
      options: {
        volumeCount: 3,
        volumeBytes: 64 * MiB,
        thinkMs: 1_000,
        depth: 1,
        faultPhaseMs: 100_000,
      },
      cluster: { rebuildAfterMs: 120_000 },
      script: all(
        at(25_000, losePower(2)),
        at(40_000, restorePower(2)),
        at(70_000, losePower(2)),
        at(85_000, restorePower(2)),
      ),
      seedsMax: 8,
    },
  },
];

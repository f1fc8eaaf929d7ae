/** Defects of the extent store. What must be durable before what is shown by test/contract/crash-prefix. */
import type { Mutation } from './mutation.ts';

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
];

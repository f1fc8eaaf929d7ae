/** Defects of the manager: who is a member, who may serve, and what is durable before it is acted upon. */
import { MiB } from '../../shared/base/units.ts';
import type { Mutation } from './mutation.ts';
import { at, isolate } from './scripts.ts';
import { PATIENT } from './trial-options.ts';

export const MANAGER_MUTATIONS: readonly Mutation[] = [
  {
    name: 'effects-before-commit',
    defect: 'Maps leave before the facts that they tell of are durable.',
    edits: [
      {
        file: 'scheduler/scheduler.ts',
        code: 'if (changes.store.length > 0) {',
        replacement:
          'if (changes.map !== null) this.#sendDelta(changes.map, changes.store, fromVersion);\n    if (changes.store.length > 0) {',
      },
      {
        file: 'scheduler/scheduler.ts',
        code: 'if (changes.map !== null) this.#sendDelta(changes.map, changes.store, fromVersion);\n    for (const effect',
        replacement: 'for (const effect',
      },
    ],
    breaks: ['I5'],
    trial: { options: { faults: ['store-stall', 'disk-stall'] }, seedsMax: 10 },
  },
  {
    name: 'remove-before-lease-end',
    defect: 'A silent node counts as dead before its lease has run out.',
    edits: [
      {
        file: 'scheduler/core/nodes/node-life.ts',
        code: 'return node.isFenced && nowMs >= observed.leaseEndsAtMs;',
        replacement: 'return node.isFenced;',
      },
    ],
    breaks: ['I4'],
    trial: { options: PATIENT, script: at(2_000, isolate(1)), seedsMax: 6 },
  },
  {
    name: 'copies-beyond-limit',
    defect: 'Lost copies are made again on disks that have no room for them.',
    edits: [
      {
        file: 'scheduler/core/placement/move-loads.ts',
        code: '+ bytes <= disk.limitBytes;',
        replacement: '+ bytes > 0;',
      },
    ],
    breaks: ['I8'],
    trial: {
      options: { volumeCount: 3, volumeBytes: 64 * MiB, thinkMs: 100, faultPhaseMs: 20_000 },
      cluster: { diskMiB: 64 },
      script: at(2_000, isolate(2)),
      seedsMax: 3,
    },
  },
];

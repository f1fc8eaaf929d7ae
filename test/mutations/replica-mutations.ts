/** Defects of the replica: epochs, generations, leases, and copies that join. */

import { MiB } from '../../shared/base/units.ts';
import type { Mutation } from './mutation.ts';
import {
  all,
  at,
  cutFromManager,
  every,
  forceAttach,
  holdLeases,
  isolate,
  rejoin,
  resumeDisk,
  slowControl,
  stallDisk,
} from './scripts.ts';
import { PATIENT } from './trial-options.ts';

export const REPLICA_MUTATIONS: readonly Mutation[] = [
  {
    name: 'skip-epoch-check',
    defect: 'A replica serves requests of an older epoch than it has seen.',
    edits: [
      {
        file: 'executor/replica/membership.ts',
        code: 'if (frame.epoch < newest) return refuse(STATUS.staleEpoch, newest);',
        replacement: 'if (frame.epoch < newest) return SERVE_IN_SYNC;',
      },
    ],
    breaks: ['I4', 'I5'],
    trial: {
      options: { gatewayNodes: 3, volumeCount: 3, volumeBytes: 32 * MiB, thinkMs: 1 },
      script: all(
        slowControl(200),
        every(4_000, stallDisk(3)),
        at(3_000, every(4_000, resumeDisk(3))),
      ),
      seedsMax: 6,
    },
  },
  {
    name: 'drop-generation-check',
    defect: 'One replica serves gateways of older generations than it has accepted.',
    edits: [
      {
        file: 'executor/replica/membership.ts',
        code: '} else if (frame.generation < volume.generation) {',
        replacement: '} else if (frame.generation < volume.generation && disk.id !== 1) {',
      },
      {
        file: 'executor/replica/membership.ts',
        code: 'return frame.generation === accepted ? null',
        replacement: 'return frame.generation === accepted || disk.id === 1 ? null',
      },
    ],
    breaks: ['I3'],
    trial: {
      options: { gatewayNodes: 3 },
      script: all(slowControl(200), every(700, forceAttach(1))),
      seedsMax: 6,
    },
  },
  {
    name: 'serve-from-joining',
    defect: 'A joining replica serves reads, and gateways ask it.',
    edits: [
      {
        file: 'executor/replica/replica-server.ts',
        code: "if (role !== 'in-sync') {\n      session.refuse(frame, STATUS.incomplete, 0);",
        replacement:
          'if (role === undefined) {\n      session.refuse(frame, STATUS.incomplete, 0);',
      },
      {
        file: 'executor/gateway/read-path.ts',
        code: 'const { inSync } = view;',
        replacement: 'const inSync = view.members;',
      },
      {
        file: 'executor/gateway/read-path.ts',
        code: 'const disk = view.inSync[member] as DiskId;',
        replacement: 'const disk = view.members[member] as DiskId;',
      },
      {
        file: 'executor/gateway/read-path.ts',
        code: 'piece.members = view.inSync;',
        replacement: 'piece.members = view.members;',
      },
    ],
    breaks: ['I4'],
    trial: { options: { faults: ['disk-stall'] }, seedsMax: 10 },
  },
  {
    name: 'pulled-over-fresh',
    defect: 'A pulled block overwrites one that a gateway has written since the join began.',
    edits: [
      {
        file: 'executor/replica/extent-copy.ts',
        code: 'if (context.fresh.has(address, at)) {',
        replacement: 'if (context.fresh.has(address, at) && at < 0) {',
      },
    ],
    breaks: ['I1'],
    trial: {
      options: { faults: ['disk-stall', 'isolation'], depth: 8, thinkMs: 1 },
      cluster: { networkDelayMsMax: 20 },
      seedsMax: 40,
    },
  },
  {
    name: 'promote-before-copied',
    defect: 'A joining replica calls itself complete before anything was copied.',
    edits: [
      {
        file: 'executor/replica/join-task.ts',
        code: 'await this.#copyAll(context, plan.copy);',
        replacement: '',
      },
    ],
    breaks: ['I1'],
    trial: { options: { faults: ['disk-stall', 'isolation'] }, seedsMax: 10 },
  },
  {
    name: 'join-ignores-epochs',
    defect: 'A returning replica keeps extents that others have written since in a later epoch.',
    edits: [
      {
        file: 'executor/replica/join-task.ts',
        code: 'theirs.epoch <= ours.epoch;',
        replacement: 'theirs.epoch >= 0;',
      },
    ],
    breaks: ['I1'],
    trial: {
      options: {
        volumeCount: 3,
        volumeBytes: 64 * MiB,
        thinkMs: 1_000,
        depth: 1,
        faultPhaseMs: 60_000,
      },
      cluster: { rebuildAfterMs: 120_000 },
      script: all(at(12_000, isolate(2)), at(50_000, rejoin(2))),
      seedsMax: 6,
    },
  },
  {
    name: 'lease-from-reception',
    defect: 'A node counts its lease from when the answer came, not from when it asked.',
    edits: [
      {
        file: 'executor/node-agent.ts',
        code: 'this.#extendLease(sentAtMs + durationMs);',
        replacement: 'this.#extendLease(this.#modules.clock.now() + durationMs);',
      },
    ],
    breaks: ['I4'],
    trial: {
      options: PATIENT,
      script: at(1_000, holdLeases(1, 3_500)),
      seedsMax: 6,
    },
  },
  {
    name: 'grant-to-fenced',
    defect: 'Executors grant leases to a node that they know is being shut out.',
    edits: [
      {
        file: 'executor/node-agent.ts',
        code: 'if (asker.isFenced) return',
        replacement: "if (asker.isFenced && request.clusterId === '') return",
      },
    ],
    breaks: ['I4'],
    trial: {
      options: { ...PATIENT, faultPhaseMs: 15_000 },
      script: at(1_000, cutFromManager(1)),
      seedsMax: 6,
    },
  },
  {
    name: 'joins-without-budget',
    defect: 'Joining replicas copy as fast as they can.',
    edits: [
      {
        file: 'executor/replica/join-task.ts',
        code: 'await this.#modules.allow(bytes);',
        replacement: 'await this.#modules.allow(0);',
      },
    ],
    breaks: ['I11'],
    trial: {
      options: { volumeCount: 3, depth: 8, cellBytes: 4096, faultPhaseMs: 16_000 },
      cluster: { resyncBytesPerSecond: MiB, rebuildAfterMs: 60_000 },
      script: all(at(1_000, isolate(2)), at(13_000, rejoin(2))),
      seedsMax: 3,
    },
  },
  {
    name: 'deleted-extents-stay',
    defect: 'The extents of a deleted volume stay on the disks.',
    edits: [
      {
        file: 'executor/replica/resync.ts',
        code: 'if (!isDeleted(volume, map)) continue;',
        replacement: 'if (volume > 0 || !isDeleted(volume, map)) continue;',
      },
    ],
    breaks: ['I10'],
    trial: {
      options: { volumeCount: 3, commandIntervalMs: 1_000, thinkMs: 500, depth: 1 },
      seedsMax: 3,
    },
  },
];

/** Defects of the gateway: acks, reads, flushes, leases, and taking over from a former gateway. */
import type { Mutation } from './mutation.ts';
import {
  all,
  at,
  crashDataProcess,
  every,
  forceAttach,
  isolate,
  resumeDisk,
  rot,
  stallDisk,
} from './scripts.ts';
import { PATIENT } from './trial-options.ts';

export const GATEWAY_MUTATIONS: readonly Mutation[] = [
  {
    name: 'ack-before-all-members',
    defect: 'A write is acked to the client when all members but one have acked.',
    edits: [
      {
        file: 'executor/gateway/write-path.ts',
        code: 'if (piece.pending !== 0) return;',
        replacement: 'if ((piece.pending & (piece.pending - 1)) !== 0) return;',
      },
    ],
    breaks: ['I1'],
    trial: { options: { faults: ['connection-loss'], faultIntervalMs: 100 }, seedsMax: 5 },
  },
  {
    name: 'forget-to-reissue',
    defect: 'Writes under way are not issued again when the epoch changes.',
    edits: [
      {
        file: 'executor/gateway/volume-device.ts',
        code: 'if (piece.isIssued) this.#issue(piece);',
        replacement: "if (piece.isIssued && piece.kind === 'read') this.#issue(piece);",
      },
    ],
    breaks: ['I12'],
    trial: {
      options: { faultPhaseMs: 60_000, thinkMs: 100 },
      script: all(at(2_000, stallDisk(2)), at(50_000, resumeDisk(2))),
      failsNothing: true,
      seedsMax: 6,
    },
  },
  {
    name: 'serve-before-accepted',
    defect: 'A gateway serves when one in-sync replica has accepted its generation.',
    edits: [
      {
        file: 'executor/gateway/link-table.ts',
        code: 'for (const disk of disks) if (!this.get(disk, nowMs).isOpen) return false;\n    return disks.size > 0;',
        replacement:
          'for (const disk of disks) if (this.get(disk, nowMs).isOpen) return true;\n    return false;',
      },
      {
        file: 'executor/gateway/reconciler.ts',
        code: 'for (const disk of view.inSync) {\n      let after',
        replacement: 'for (const disk of view.inSync.slice(0, 1)) {\n      let after',
      },
    ],
    breaks: ['I3'],
    trial: {
      options: { gatewayNodes: 3 },
      cluster: { networkDelayMsMax: 20 },
      script: every(700, forceAttach(1)),
      seedsMax: 6,
    },
  },
  {
    name: 'skip-reconciliation',
    defect: 'Extents that a former gateway left dirty are served without being compared.',
    edits: [
      {
        file: 'executor/gateway/reconciler.ts',
        code: 'if (mustCompare) this.#pending.set(entry.extent, pg);',
        replacement: 'if (mustCompare && pg < 0) this.#pending.set(entry.extent, pg);',
      },
    ],
    breaks: ['I14'],
    trial: {
      options: { gatewayNodes: 3, depth: 8, thinkMs: 1 },
      cluster: { networkDelayMsMax: 20 },
      script: every(700, forceAttach(1)),
      seedsMax: 6,
    },
  },
  {
    name: 'flush-before-all-members',
    defect: 'A flush is acked while members are still syncing.',
    edits: [
      {
        file: 'executor/gateway/flusher.ts',
        code: 'if (isPossible && this.#unfinished === 0) this.#end();',
        replacement: 'if (isPossible) this.#end();',
      },
    ],
    breaks: ['I2'],
    trial: { options: {}, seedsMax: 5 },
  },
  {
    name: 'flush-forgets-former-gateway',
    defect: 'The first flush of a gateway leaves out what its predecessor wrote.',
    edits: [
      {
        file: 'executor/gateway/reconciler.ts',
        code: 'this.#listener.onLeftDirty(pg);',
        replacement: '',
      },
      {
        file: 'executor/gateway/volume-device.ts',
        code: 'clock.now());\n    this.#flusher.noteLeft(pg);',
        replacement: 'clock.now());',
      },
    ],
    breaks: ['I2'],
    trial: { options: { thinkMs: 30 }, script: every(1_500, crashDataProcess(1)), seedsMax: 6 },
  },
  {
    name: 'checksum-not-verified',
    defect: 'The gateway hands on blocks that do not match their checksum.',
    edits: [
      {
        file: 'executor/gateway/read-path.ts',
        code: 'if (findMismatch(data, checksums, 0) < 0) this.#deliver',
        replacement: 'if (findMismatch(data, checksums, 0) < piece.count) this.#deliver',
      },
    ],
    breaks: ['D5'],
    trial: {
      options: {},
      script: every(1_000, rot(1)),
      mayLeave: /^scrub found: .* was bad; it was rewritten/,
      seedsMax: 6,
    },
  },
  {
    name: 'no-lease-needed',
    defect: 'Gateways and replicas serve without a lease.',
    edits: [
      {
        file: 'executor/gateway/volume-device.ts',
        code: "(this.#phase === 'serving' || this.#phase === 'closing') &&\n      this.#modules.lease.isHeld(this.clock.now())",
        replacement: "(this.#phase === 'serving' || this.#phase === 'closing')",
      },
      {
        file: 'executor/replica/replica-server.ts',
        code: 'if (!lease.isHeld(clock.now())) {',
        replacement: 'if (!lease.isHeld(clock.now() - 3_600_000)) {',
      },
    ],
    breaks: ['I4'],
    trial: { options: PATIENT, script: at(2_000, isolate(1)), seedsMax: 6 },
  },
];

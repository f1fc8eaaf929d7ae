/** From a mutation and a seed to the options of a run: a small, calm, busy cluster unless the trial says otherwise. */
import { MiB } from '../../shared/base/units.ts';
import { drawOptions, type SwarmOptions } from '../simulation/swarm.ts';
import type { Trial } from './mutation.ts';

/**
 * Directed, not drawn: what finds a defect must not depend on what else seeds are made to mean. Small
 * volumes and few placement groups, so that requests, copies and faults meet often.
 */
const CALM = {
  replicas: 2,
  volumeCount: 1,
  volumeBytes: 32 * MiB,
  cellBytes: 512,
  depth: 4,
  thinkMs: 10,
  gatewayNodes: 1,
  faultPhaseMs: 8_000,
  faultIntervalMs: 1_000,
  faults: [],
  scrubIntervalMs: Number.POSITIVE_INFINITY,
  commandIntervalMs: Number.POSITIVE_INFINITY,
  growAfterMs: Number.POSITIVE_INFINITY,
  poolsAfterMs: Number.POSITIVE_INFINITY,
} as const;

/** Many slow clients: some still read when the writes of the others have been waiting for seconds. */
export const PATIENT = {
  depth: 64,
  thinkMs: 1_500,
  cellBytes: 4096,
  volumeBytes: 64 * MiB,
} as const;

const CALM_CLUSTER = {
  nodeCount: 3,
  disksPerNode: 1,
  pgCount: 4,
  networkDelayMsMax: 1,
  diskLatencyMs: 0.3,
  clockSkew: 0,
  rebuildAfterMs: 5_000,
  resyncBytesPerSecond: 256 * MiB,
} as const;

export function trialOptions(trial: Trial, seed: number): SwarmOptions {
  const drawn = drawOptions(seed);
  return {
    ...drawn,
    ...CALM,
    ...trial.options,
    cluster: { ...drawn.cluster, ...CALM_CLUSTER, ...trial.cluster },
  };
}

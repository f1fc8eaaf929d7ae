/**
 * What one seed means: size of the cluster, workload, and a subset of the faults. Random subsets find
 * more than everything at once: a fault that is always there hides what happens without it.
 */
import type { StoreTuning } from '../../executor/disk/store-types.ts';
import { Prng } from '../../shared/base/prng.ts';
import { KiB, MiB } from '../../shared/base/units.ts';
import type { ClusterOptions } from './cluster.ts';

/** Each is described where it is made (network-, process-, disk- and mesos-faults.ts). */
export const FAULT_KINDS = [
  'connection-loss',
  'one-way-partition',
  'isolation',
  'group-partition',
  'message-delay',
  'clog',
  'data-process-crash',
  'data-process-stop',
  'executor-crash',
  'executor-stop',
  'power-loss',
  'blackout',
  'clock-pace',
  'scheduler-restart',
  'scheduler-gone',
  'store-stall',
  'leadership-loss',
  'disk-stall',
  'disk-slow',
  'disk-error',
  'disk-hang',
  'disk-full',
  'index-rot',
  'journal-rot',
  'bit-rot',
  'latent-error',
  'lost-write',
  'misdirected-write',
  'agent-cut-off',
  'agent-renewed',
  'agent-wiped',
  'machine-replaced',
  'mesos-disconnect',
  'mesos-delay',
] as const;

export type FaultKind = (typeof FAULT_KINDS)[number];

/**
 * Promises of the design that the code does not keep yet; each is switched on here when it does.
 * The names appear in a run's options, so that nobody takes a green run for more than it is.
 */
export const MISSING = {
  /** Scrub in every run: damage to data that nobody reads is left out of the last comparison. */
  scrub: true,
} as const;

export interface SwarmOptions {
  readonly seed: number;
  readonly cluster: ClusterOptions;
  readonly replicas: number;
  readonly volumeCount: number;
  readonly volumeBytes: number;
  readonly cellBytes: number;
  readonly depth: number;
  readonly thinkMs: number;
  /** Nodes that coordinate volumes. */
  readonly gatewayNodes: number;
  readonly faultPhaseMs: number;
  readonly faultIntervalMs: number;
  readonly faults: readonly FaultKind[];
  /** How often power comes back within seconds, before the node was left out of anything. */
  readonly quickLossRatio: number;
  /** Mean time between attempts to start a scrub while faults are about; Infinity for none. */
  readonly scrubIntervalMs: number;
  /** Mean time between an operator's commands; Infinity for none. */
  readonly commandIntervalMs: number;
  /** When the second disks of all nodes go to a pool of their own; Infinity for never. */
  readonly poolsAfterMs: number;
  /** When agents get more space beside our disks, and the pool wants it; Infinity for never. */
  readonly growAfterMs: number;
}

export interface SwarmOverrides {
  readonly faults?: readonly FaultKind[];
  /** Fault phases of ten to twenty seconds: for tests that everybody waits for. */
  readonly isShort?: boolean;
  readonly isPowerLossQuick?: boolean;
  readonly thinkMs?: number;
}

export function drawOptions(seed: number, overrides: SwarmOverrides = {}): SwarmOptions {
  const root = new Prng(`swarm ${seed}`);
  // One generator per choice: a new choice leaves all others as they were.
  const draw = (what: string): Prng => root.fork(what);
  const faultPhaseMs = draw('phase').between(15_000, 90_000);
  const faults = FAULT_KINDS.filter((kind) => draw(kind).chance(CHANCES[kind] ?? FAULT_CHANCE));
  return {
    seed,
    cluster: { ...drawCluster(seed, draw), areDisksShared: draw('growth').chance(GROWTH_CHANCE) },
    replicas: draw('replicas').pick([1, 2, 2, 2, 2, 3, 3]),
    volumeCount: draw('volumes').between(1, 3),
    volumeBytes: draw('volume size').pick([4, 32, 64]) * MiB,
    cellBytes: draw('cell').pick([64, 512, 512, 4096]),
    depth: draw('depth').pick([1, 4, 8]),
    thinkMs: overrides.thinkMs ?? draw('think').pick([20, 60, 200]),
    gatewayNodes: draw('gateways').between(1, 3),
    faultPhaseMs: overrides.isShort === true ? 8_000 + (faultPhaseMs % 10_000) : faultPhaseMs,
    faultIntervalMs: draw('interval').pick([300, 1_000, 2_500, 8_000]),
    faults: overrides.faults ?? faults,
    quickLossRatio: overrides.isPowerLossQuick === true ? 1 : draw('quick').pick([0, 0.5, 1]),
    scrubIntervalMs: draw('scrubs').pick([Number.POSITIVE_INFINITY, 2_000, 8_000]),
    commandIntervalMs: draw('commands').pick([3_000, 10_000, Number.POSITIVE_INFINITY]),
    // Runs with chosen faults look for one thing: pools would only stand in its way.
    poolsAfterMs:
      overrides.faults === undefined
        ? drawPools(draw('pools'), draw('disks').pick([1, 1, 2]))
        : Number.POSITIVE_INFINITY,
    growAfterMs: draw('growth').chance(GROWTH_CHANCE) ? 1_000 : Number.POSITIVE_INFINITY,
  };
}

/** Disks grow only while nothing else is away: in few of these runs before all faults have ended. */
const GROWTH_CHANCE = 0.2;
/** About a dozen kinds per seed, out of all. */
const FAULT_CHANCE = 0.35;
/** Work directories are lost seldom; seeds that found something before this fault was there stay as they were. */
const CHANCES: Partial<Record<FaultKind, number>> = { 'agent-wiped': 0.1 };

/** In a sixth of all runs: half of those with two disks on a node. */
function drawPools(random: Prng, disksPerNode: number): number {
  const afterMs = random.between(500, 8_000);
  return disksPerNode > 1 && random.chance(0.5) ? afterMs : Number.POSITIVE_INFINITY;
}

function drawCluster(seed: number, draw: (what: string) => Prng): ClusterOptions {
  return {
    seed,
    nodeCount: draw('nodes').pick([3, 3, 4, 4, 5, 5, 6, 7, 9]),
    zoneCount: draw('zones').pick([0, 0, 0, 3]),
    disksPerNode: draw('disks').pick([1, 1, 2]),
    diskMiB: 2_048,
    pgCount: draw('pgs').pick([4, 8, 16]),
    networkDelayMsMax: draw('network').pick([0.3, 1, 1, 20]),
    diskLatencyMs: draw('latency').pick([0.1, 0.3, 2]),
    clockSkew: draw('skew').pick([0, 0, 0.005, 0.02]),
    rebuildAfterMs: draw('rebuild').pick([5_000, 20_000, 60_000]),
    resyncBytesPerSecond: draw('resync').pick([256, 256, 256, 256, 256, 16, 4, 1]) * MiB,
    tuning: draw('tuning').pick([{}, {}, TINY_JOURNAL, TINY_CACHES]),
  };
}

/** Checkpoints and rotations all the time. */
const TINY_JOURNAL: Partial<StoreTuning> = {
  journalCheckpointBytes: 16 * KiB,
  journalBytesMax: 512 * KiB,
};

/** Tables come and go, every write takes the long way, slabs are synced all the time. */
const TINY_CACHES: Partial<StoreTuning> = {
  tableCacheCount: 4,
  pinnedTablesMax: 2,
  syncWriteBytesMax: 4 * KiB,
  backgroundSyncBytes: 64 * KiB,
};

export function describeOptions(options: SwarmOptions): string {
  const { cluster } = options;
  return [
    `nodes=${cluster.nodeCount}x${cluster.disksPerNode} zones=${cluster.zoneCount}`,
    `gateways=${options.gatewayNodes} tuning=${Object.keys(cluster.tuning)[0] ?? 'normal'}`,
    `replicas=${options.replicas} pgs=${cluster.pgCount}`,
    `volumes=${options.volumeCount}x${options.volumeBytes / MiB}MiB cell=${options.cellBytes}`,
    `depth=${options.depth} think=${options.thinkMs}ms net<=${cluster.networkDelayMsMax}ms`,
    `disk=${cluster.diskLatencyMs}ms skew=${cluster.clockSkew}`,
    `rebuildAfter=${cluster.rebuildAfterMs}ms resync=${cluster.resyncBytesPerSecond / MiB}MiB/s`,
    `phase=${options.faultPhaseMs}ms`,
    `interval=${options.faultIntervalMs}ms commands=${options.commandIntervalMs}ms`,
    `scrubs=${options.scrubIntervalMs}ms pools=${options.poolsAfterMs}ms`,
    `quickLosses=${options.quickLossRatio} faults=${options.faults.join(',') || 'none'}`,
  ].join(' ');
}

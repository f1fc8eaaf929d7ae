/**
 * The faults of a chaos run: what each does, how it ends, and what a round draws. The budget: whatever may cost a
 * copy (a node, its links, its disks) hits one node per round, the victim, and the cluster has to be whole again
 * before the next round. Only the death of processes, which loses nothing, hits all nodes at once.
 */
import type { Prng } from '../../shared/base/prng.ts';
import {
  fillDisk,
  flipBytes,
  freeDisk,
  loseDisk,
  makeReadOnly,
  makeWritable,
} from './disk-faults.ts';
import { SCHEDULER_PLACE } from './network.ts';
import type { ChaosWorld } from './world.ts';

export const FAULT_KINDS = [
  'kill-data',
  'kill-executor',
  'kill-scheduler',
  'stop-data',
  'stop-executor',
  'stop-node',
  'stop-scheduler',
  'cut-node',
  'cut-pair',
  'cut-manager',
  'kill-agent',
  'kill-and-move',
  'cut-and-move',
  'kill-everything',
  'fill-disk',
  'flip-bytes',
  'read-only',
  'lose-disk',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** Two of them on one node are more than a copy at risk, or hide each other. */
const DISK_KINDS: readonly FaultKind[] = ['fill-disk', 'flip-bytes', 'read-only', 'lose-disk'];
const LINK_KINDS: readonly FaultKind[] = ['cut-node', 'cut-pair', 'cut-manager', 'cut-and-move'];
/** They take as long as a lease and a move, and their operator needs the scheduler. */
export const MOVE_KINDS: readonly FaultKind[] = ['kill-and-move', 'cut-and-move'];
/** Alone in their round. */
const LONELY_KINDS: readonly FaultKind[] = [...DISK_KINDS, ...MOVE_KINDS, 'kill-everything'];

/** All faults of a round begin within this time and end soon after: clients wait for 35 s. */
const ROUND_MS = 8_000;
const DURATION_MS_MIN = 100;
const DURATION_MS_MAX = 15_000;
const END_MS = 18_000;
const FAULTS_MAX = 3;
/** What a kill is given to show its effects before the healing is watched. */
const AFTER_KILL_MS_MAX = 3_000;

export interface PlannedFault {
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly durationMs: number;
  /** One of the faults' own draws: which peer, which direction, which bytes. */
  readonly seed: number;
}

export interface RoundPlan {
  readonly victim: string;
  readonly faults: readonly PlannedFault[];
}

/** What a machine without namespaces leaves over. */
export function availableKinds(world: ChaosWorld): readonly FaultKind[] {
  return world.network === null
    ? FAULT_KINDS.filter((kind) => !LINK_KINDS.includes(kind) && kind !== 'fill-disk')
    : FAULT_KINDS;
}

export function drawRound(
  random: Prng,
  agents: readonly string[],
  kinds: readonly FaultKind[],
): RoundPlan {
  const victim = random.pick(agents);
  const first = plan(random, random.pick(kinds));
  if (LONELY_KINDS.includes(first.kind)) return { victim, faults: [first] };
  const more = kinds.filter((kind) => !LONELY_KINDS.includes(kind));
  const faults = [first];
  while (faults.length < FAULTS_MAX && more.length > 0 && random.chance(0.6)) {
    const fault = plan(random, random.pick(more));
    // Two at once of one kind would undo each other.
    if (faults.every((one) => one.kind !== fault.kind)) faults.push(fault);
  }
  return { victim, faults: faults.sort((a, b) => a.atMs - b.atMs) };
}

/** These faults at once, each at its own time. */
export function planRound(
  random: Prng,
  agents: readonly string[],
  kinds: readonly FaultKind[],
): RoundPlan {
  const faults = kinds.map((kind) => plan(random, kind)).sort((a, b) => a.atMs - b.atMs);
  return { victim: random.pick(agents), faults };
}

function plan(random: Prng, kind: FaultKind): PlannedFault {
  const atMs = random.below(ROUND_MS);
  if (isInstant(kind)) {
    return { kind, atMs, durationMs: random.below(AFTER_KILL_MS_MAX), seed: random.u32() };
  }
  // Short ones as often as long ones.
  const span = Math.log(DURATION_MS_MAX / DURATION_MS_MIN);
  const durationMs = Math.round(DURATION_MS_MIN * Math.exp(random.fraction() * span));
  return { kind, atMs, durationMs: Math.min(durationMs, END_MS - atMs), seed: random.u32() };
}

/** Done when it has happened: nothing ends it. */
function isInstant(kind: FaultKind): boolean {
  return (
    (kind.startsWith('kill-') && kind !== 'kill-agent' && kind !== 'kill-and-move') ||
    kind === 'flip-bytes' ||
    kind === 'lose-disk'
  );
}

/** Does it; resolves with what ends it. */
export async function beginFault(
  world: ChaosWorld,
  victim: string,
  fault: PlannedFault,
  random: Prng,
): Promise<() => Promise<void>> {
  const nothing = async (): Promise<void> => undefined;
  const { cluster } = world;
  switch (fault.kind) {
    case 'kill-data':
      await world.signalData(victim, 'SIGKILL');
      return nothing;
    case 'kill-executor':
      await world.signalExecutor(victim, 'SIGKILL');
      return nothing;
    case 'kill-scheduler':
      world.signalScheduler('SIGKILL');
      return nothing;
    case 'stop-data':
      return world.stop(await world.dataPids(victim));
    case 'stop-executor':
      return world.stop(await world.executorPids(victim));
    case 'stop-node':
      return world.stop([...(await world.executorPids(victim)), ...(await world.dataPids(victim))]);
    case 'stop-scheduler':
      return world.stop([cluster.schedulerPid]);
    case 'cut-node':
      return world.cut(
        victim,
        [...world.agents.filter((agent) => agent !== victim), SCHEDULER_PLACE],
        random.pick(['both', 'both', 'out', 'in']),
      );
    case 'cut-pair': {
      const other = random.pick(world.agents.filter((agent) => agent !== victim));
      return world.cut(victim, [other], random.pick(['both', 'out', 'in']));
    }
    case 'cut-manager':
      return world.cut(
        SCHEDULER_PLACE,
        random.chance(0.5) ? [victim] : world.agents,
        random.pick(['both', 'out', 'in']),
      );
    case 'kill-agent':
      await cluster.killAgent(victim);
      return async () => {
        await cluster.startAgent(victim);
      };
    case 'kill-and-move':
      await cluster.killAgent(victim);
      await world.moveVolumes(victim, random);
      return async () => {
        await cluster.startAgent(victim);
      };
    case 'cut-and-move': {
      const others = world.agents.filter((agent) => agent !== victim);
      const mend = await world.cut(victim, [...others, SCHEDULER_PLACE], 'both');
      await world.moveVolumes(victim, random).catch(async (error: unknown) => {
        await mend();
        throw error;
      });
      return mend;
    }
    case 'kill-everything':
      await world.killEverything();
      return nothing;
    case 'fill-disk':
      await fillDisk(world, victim);
      return () => freeDisk(world, victim);
    case 'flip-bytes':
      await flipBytes(world, victim, random);
      return nothing;
    case 'read-only':
      makeReadOnly(world, victim);
      return async () => makeWritable(world, victim);
    case 'lose-disk':
      await loseDisk(world, victim);
      return nothing;
    default:
      return fault.kind satisfies never;
  }
}

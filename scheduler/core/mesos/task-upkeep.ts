/**
 * What is due for tasks without any event: questions that were not answered (reconciliation), kills of
 * tasks that have to end, launches that got stuck, claims that lead nowhere, executors without disks.
 *
 * Every retry has a growing delay; none has an end, because each stops by itself with the next answer.
 */
import { formatDisk } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import { isReadyToGrow } from '../capacity/growth.ts';
import type { Effect } from '../contract.ts';
import { recordEvent } from '../events.ts';
import { observedNode } from '../nodes/node-life.ts';
import type { DiskRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { ASK_DELAY_MS_MAX, type ObservedTask, observedHost, observedTask } from './mesos-state.ts';
import { isExecutorIdle } from './offer-release.ts';
import { callMesos } from './tasks.ts';

/** A launch of which nothing is heard is asked about after this; Mesos gives up after a minute itself. */
const LAUNCH_SILENCE_MS = 30_000;
/** A task that does not get beyond starting is ended and launched again (Marathon: the same). */
const START_MS_MAX = 300_000;
/** A claim that could not be brought up in this time is given back; the pool looks for another disk. */
export const CLAIM_MS_MAX = 600_000;
/** After SUBSCRIBED offers wait for answers about tasks, but not for agents that are still away. */
const RECONCILE_MS_MAX = 15_000;
/** Catches what was lost on the way without a disconnect. */
const IMPLICIT_EVERY_MS = 720_000;
const KILL_DELAY_MS_MAX = 60_000;
const SHUTDOWN_EVERY_MS = 30_000;

/** After SUBSCRIBED: whatever is not known to have ended is asked about, at once. */
export function askAboutAll(state: State, now: Now): void {
  state.mesos.isReconciled = false;
  state.mesos.implicitAtMs = now.ms + IMPLICIT_EVERY_MS;
  for (const disk of state.facts.disks.values()) {
    const task = observedTask(state.mesos, disk);
    if (task === null || task.life === 'dead') continue;
    task.askAtMs = now.ms;
    task.askDelayMs = 0;
  }
}

export function tendTasks(state: State, now: Now): Effect[] {
  forgetBuried(state);
  const effects: Effect[] = [];
  for (const disk of state.facts.disks.values()) {
    const task = observedTask(state.mesos, disk);
    if (task !== null) tendTask(state, disk, task, effects, now);
    tendClaim(state, disk, task, now);
  }
  return [...reconcile(state, now), ...effects, ...shutdownIdleExecutors(state, now)];
}

/** Disks that are gone from the facts leave nothing here. */
function forgetBuried(state: State): void {
  const { tasks, claimSinceMs, releases } = state.mesos;
  for (const map of [tasks, claimSinceMs, releases]) {
    for (const id of map.keys()) if (!state.facts.disks.has(id)) map.delete(id);
  }
}

function tendTask(
  state: State,
  disk: DiskRecord,
  task: ObservedTask,
  effects: Effect[],
  now: Now,
): void {
  const sinceMs = now.ms - task.sinceMs;
  if (task.life === 'sent' && sinceMs >= LAUNCH_SILENCE_MS) task.askAtMs ??= now.ms;
  if (task.life === 'dead' || task.life === 'unknown') return;
  const isStuck = task.life === 'starting' && sinceMs >= START_MS_MAX;
  // The node was given up, but its task is there: it ends; its volume stays.
  const isLeftover = disk.phase === 'lost' && task.life !== 'away';
  if (disk.phase !== 'releasing' && !isStuck && !isLeftover && !isReadyToGrow(state, disk)) return;
  if (now.ms < task.killAtMs) return;
  task.killAtMs = now.ms + task.killDelayMs;
  task.killDelayMs = Math.min(KILL_DELAY_MS_MAX, task.killDelayMs * 2);
  const agentId = state.facts.nodes.get(disk.node).agentId;
  effects.push(
    callMesos({
      type: 'KILL',
      kill: { task_id: { value: task.taskId }, agent_id: { value: agentId } },
    }),
  );
}

function tendClaim(state: State, disk: DiskRecord, task: ObservedTask | null, now: Now): void {
  const { claimSinceMs } = state.mesos;
  if (disk.phase !== 'claiming') {
    claimSinceMs.delete(disk.id);
    return;
  }
  const sinceMs = claimSinceMs.get(disk.id) ?? now.ms;
  claimSinceMs.set(disk.id, sinceMs);
  if (now.ms - sinceMs < CLAIM_MS_MAX || (task !== null && task.life !== 'dead')) return;
  claimSinceMs.delete(disk.id);
  state.facts.disks.update(disk.id, {
    phase: 'releasing',
    phaseSinceMs: now.wallMs,
    error: 'claim was given up',
  });
  recordEvent(
    state,
    {
      severity: 'warning',
      kind: 'disk.claim-given-up',
      message: `${formatDisk(disk.id)} could not be brought up within ${formatDuration(CLAIM_MS_MAX)} (${task?.reason ?? 'its disk was not offered again'}): the claim is given back`,
      subject: formatDisk(disk.id),
    },
    now,
  );
}

/** One explicit question for all tasks that are due; an empty one now and then for all that Mesos knows. */
function reconcile(state: State, now: Now): Effect[] {
  const { mesos, facts } = state;
  const tasks: { task_id: { value: string }; agent_id: { value: string } }[] = [];
  let isWaiting = false;
  for (const disk of facts.disks.values()) {
    const task = observedTask(mesos, disk);
    if (task === null || task.askAtMs === null) continue;
    isWaiting = true;
    if (task.askAtMs > now.ms) continue;
    task.askDelayMs = Math.min(ASK_DELAY_MS_MAX, Math.max(8_000, task.askDelayMs * 2));
    task.askAtMs = now.ms + task.askDelayMs;
    const agentId = facts.nodes.get(disk.node).agentId;
    tasks.push({ task_id: { value: task.taskId }, agent_id: { value: agentId } });
  }
  if (!isWaiting || now.ms - mesos.subscribedAtMs >= RECONCILE_MS_MAX) mesos.isReconciled = true;
  const effects: Effect[] = [];
  if (tasks.length > 0) effects.push(callMesos({ type: 'RECONCILE', reconcile: { tasks } }));
  if (now.ms >= mesos.implicitAtMs) {
    mesos.implicitAtMs = now.ms + IMPLICIT_EVERY_MS;
    effects.push(callMesos({ type: 'RECONCILE', reconcile: { tasks: [] } }));
  }
  return effects;
}

/** Custom executors never end by themselves: one without a disk (and without a volume) is shut down. */
function shutdownIdleExecutors(state: State, now: Now): Effect[] {
  const effects: Effect[] = [];
  for (const node of state.facts.nodes.values()) {
    if (observedNode(state, node.id).executor !== 'running') continue;
    const host = observedHost(state.mesos, node.id);
    if (now.ms - host.shutdownAtMs < SHUTDOWN_EVERY_MS || !isExecutorIdle(state, node)) continue;
    host.shutdownAtMs = now.ms;
    const executor_id = { value: node.executorId };
    const agent_id = { value: node.agentId };
    effects.push(callMesos({ type: 'SHUTDOWN', shutdown: { executor_id, agent_id } }));
  }
  return effects;
}

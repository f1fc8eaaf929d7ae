/**
 * Task updates: one disk is one task, and this file turns what Mesos says of tasks into the life of
 * disks, executors and nodes.
 *
 *   claiming/launched ── RUNNING ──▶ launched ──▶ (serving: its executor reports an open store)
 *   launched/serving ── ended ──▶ down ── relaunched on its own volume (offers.ts) ──▶ launched
 *   any ── GONE_BY_OPERATOR ──▶ node gone, disk lost
 *
 * Every update that asks for it is acknowledged, also repeated and unknown ones: an update that is not
 * blocks those behind it, and an operator's drain. The acknowledgement is an effect of the same step as
 * the change of facts, so it leaves when that is durable. Nothing here destroys anything.
 */
import { assert } from '../../../shared/base/assert.ts';
import { type DiskId, formatDisk, formatNode, parseDisk } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import type { TaskStatus } from '../../../shared/mesos/messages.ts';
import type { SchedulerCall } from '../../../shared/mesos/scheduler-messages.ts';
import { isReadyToGrow } from '../capacity/growth.ts';
import type { Effect } from '../contract.ts';
import { rebuildWaitMs } from '../disks/disk-use.ts';
import { noteOpened } from '../disks/foreign-data.ts';
import { recordEvent } from '../events.ts';
import { nextMapVersion } from '../members/fencing.ts';
import { observedNode } from '../nodes/node-life.ts';
import { isBeingRestarted } from '../planned/executor-version.ts';
import type { DiskRecord, NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import {
  type ObservedTask,
  observedHost,
  observedTask,
  type TaskLife,
  trackTask,
} from './mesos-state.ts';
import { describeStatus, saysContainerEnded, TASK_MEANING } from './task-states.ts';

/** First relaunch after an unexpected end; doubles with every further one. */
const RETRY_DELAY_MS_MIN = 1_000;
const RETRY_DELAY_MS_MAX = 300_000;
/** A refusal does not heal by itself: somebody has to change a role, a right or an option. */
const REFUSED_DELAY_MS_MIN = 60_000;
/** A task that ran this long was well: failures before it do not count any more. */
const WELL_AFTER_MS = 120_000;
/** All tasks of an executor end together: within this time they are one failure. */
const SAME_FAILURE_MS = 1_000;

/** Text up to the disk: clusters that share a framework by accident tell their tasks apart. */
function taskPrefix(state: State): string {
  return `cistern-${state.facts.cluster.clusterId.slice(0, 8)}-`;
}

/** `cistern-1f2e3d4c-d7-2`: never used twice, since attempts only count up. */
export function taskIdOf(state: State, disk: DiskId, attempt: number): string {
  return `${taskPrefix(state)}${formatDisk(disk)}-${attempt}`;
}

function findDiskOfTask(state: State, taskId: string): DiskRecord | undefined {
  const prefix = taskPrefix(state);
  if (!taskId.startsWith(prefix)) return undefined;
  const match = /^(d\d+)-\d+$/.exec(taskId.slice(prefix.length));
  const id = match === null ? null : parseDisk(match[1] ?? '');
  return id === null ? undefined : state.facts.disks.find(id);
}

export function callMesos(call: SchedulerCall): Effect {
  return { kind: 'mesos-call', call };
}

export function onTaskUpdate(state: State, status: TaskStatus, now: Now): Effect[] {
  const effects: Effect[] = [];
  const disk = findDiskOfTask(state, status.task_id.value);
  if (disk === undefined) onUnknownTask(state, status, now);
  else if (disk.taskId !== status.task_id.value) effects.push(...onOldTask(state, disk, status));
  else onDiskTask(state, disk, status, now);
  effects.push(...acknowledge(status));
  return effects;
}

function acknowledge(status: TaskStatus): Effect[] {
  const { uuid, agent_id, task_id } = status;
  // Only what came from an agent has a uuid; the rest must not be acknowledged.
  if (uuid === undefined || uuid.length === 0 || agent_id === undefined) return [];
  return [callMesos({ type: 'ACKNOWLEDGE', acknowledge: { agent_id, task_id, uuid } })];
}

/** A task of ours that the store does not know: the store was lost or replaced. Left alone. */
function onUnknownTask(state: State, status: TaskStatus, now: Now): void {
  const meaning = TASK_MEANING[status.state];
  if (meaning !== 'alive' && meaning !== 'starting') return;
  const taskId = status.task_id.value;
  recordEvent(
    state,
    {
      severity: 'warning',
      kind: 'mesos.unknown-task',
      message: `Task "${taskId}" runs on agent "${status.agent_id?.value ?? ''}" but is not in the metadata store; it is left alone: if the store was replaced, bring back the old one, else kill the task`,
      subject: 'cluster',
    },
    now,
  );
}

/** An attempt that was given up and came back (an agent was unreachable): one of the two has to end. */
function onOldTask(_state: State, disk: DiskRecord, status: TaskStatus): Effect[] {
  const meaning = TASK_MEANING[status.state];
  assert(disk.taskId !== status.task_id.value, 'an old task is not the current one');
  if (meaning !== 'alive' && meaning !== 'starting') return [];
  const { task_id, agent_id } = status;
  return [callMesos({ type: 'KILL', kill: { task_id, agent_id } })];
}

function onDiskTask(state: State, disk: DiskRecord, status: TaskStatus, now: Now): void {
  const task = observedTask(state.mesos, disk);
  assert(task !== null, 'a disk whose task has an update has a task', { disk: disk.id });
  const uuid = status.uuid?.toString('hex') ?? null;
  if (uuid !== null && uuid === task.lastUuid) return;
  task.lastUuid = uuid ?? task.lastUuid;
  task.askAtMs = null;
  noteExecutorEnd(state, disk, status);
  const meaning = TASK_MEANING[status.state];
  if (meaning === 'node-gone') {
    noteLife(task, 'dead', status, now);
    markNodeGone(state, disk, status, now);
    return;
  }
  // What certainly ended stays ended: a late or reordered update does not bring it back.
  if (task.life === 'dead') return;
  switch (meaning) {
    case 'starting':
    case 'alive':
      onAlive(state, disk, task, status, now);
      return;
    case 'stopping':
      noteLife(task, 'stopping', status, now);
      notePlannedOutage(state, disk, status, now);
      return;
    case 'away':
      noteLife(task, 'away', status, now);
      forgetExecutor(state, disk);
      return;
    case 'refused':
      // Mesos answers a second launch under the id of a running task with that task's id.
      if (task.life !== 'alive') onEnded(state, disk, task, status, now);
      return;
    default:
      onEnded(state, disk, task, status, now);
  }
}

function noteLife(task: ObservedTask, life: TaskLife, status: TaskStatus, now: Now): void {
  if (task.life !== life) task.sinceMs = now.ms;
  task.life = life;
  task.reason = describeStatus(status);
}

function onAlive(
  state: State,
  disk: DiskRecord,
  task: ObservedTask,
  status: TaskStatus,
  now: Now,
): void {
  noteLife(task, TASK_MEANING[status.state] === 'alive' ? 'alive' : 'starting', status, now);
  // STAGING comes from the master alone: the executor need not be there yet.
  if (status.state !== 'TASK_STAGING') observedNode(state, disk.node).executor = 'running';
  // Our executors say so once the store is open.
  if (status.state === 'TASK_RUNNING') noteOpened(state, disk);
  if (disk.phase === 'claiming' || disk.phase === 'down')
    setPhase(state, disk, 'launched', '', now);
}

function onEnded(
  state: State,
  disk: DiskRecord,
  task: ObservedTask,
  status: TaskStatus,
  now: Now,
): void {
  // What happened under an earlier manager says nothing about how the node does now.
  const isNews = task.life !== 'unknown';
  const ranWell = task.life === 'alive' && now.ms - task.sinceMs >= WELL_AFTER_MS;
  noteLife(task, 'dead', status, now);
  const isPlanned = notePlannedOutage(state, disk, status, now) || isReadyToGrow(state, disk);
  if (disk.phase === 'launched' || disk.phase === 'serving') {
    setPhase(state, disk, 'down', task.reason, now);
  }
  if (disk.phase === 'releasing' || disk.phase === 'failed' || disk.phase === 'lost') return;
  const isOrdered = isPlanned || isBeingRestarted(state, disk.node);
  if (!isOrdered && isNews) countFailure(state, disk, status, ranWell, now);
}

/** Makes relaunches on this node wait, longer after each failure in a row. */
function countFailure(
  state: State,
  disk: DiskRecord,
  status: TaskStatus,
  ranWell: boolean,
  now: Now,
): void {
  const host = observedHost(state.mesos, disk.node);
  if (ranWell) host.failures = 0;
  const isRefused = TASK_MEANING[status.state] === 'refused';
  const isSame = host.retryAtMs - now.ms > 0 && host.failures > 0 && !isRefused;
  const delayMin = isRefused ? REFUSED_DELAY_MS_MIN : RETRY_DELAY_MS_MIN;
  if (!isSame) {
    // 2^20 seconds are far beyond the maximum.
    const delay = delayMin * 2 ** Math.min(host.failures, 20);
    host.retryAtMs = now.ms + Math.min(RETRY_DELAY_MS_MAX, Math.max(delay, SAME_FAILURE_MS));
    host.failures += 1;
  }
  // An offer that was withdrawn while we accepted it is nobody's fault.
  if (TASK_MEANING[status.state] === 'never-started') return;
  const wait = formatDuration(Math.max(0, host.retryAtMs - now.ms));
  recordEvent(
    state,
    {
      severity: isRefused ? 'error' : 'warning',
      kind: isRefused ? 'disk.launch-refused' : 'disk.down',
      message: `The task of ${formatDisk(disk.id)} on ${formatNode(disk.node)} ended (${describeStatus(status)}); it is started again on the same volume in ${wait}`,
      subject: formatDisk(disk.id),
    },
    now,
  );
}

/** Whether this end was ordered by an operator's drain of the agent: then it is an outage, no failure. */
function notePlannedOutage(state: State, disk: DiskRecord, status: TaskStatus, now: Now): boolean {
  if (status.reason !== 'REASON_AGENT_DRAINING') return false;
  const node = state.facts.nodes.get(disk.node);
  if ((node.outageSinceMs ?? null) !== null) return true;
  state.facts.nodes.update(node.id, { outageSinceMs: now.wallMs });
  recordEvent(
    state,
    {
      severity: 'warning',
      kind: 'node.drained-by-mesos',
      message: `An operator drains the agent of ${formatNode(node.id)} (${node.hostname}) in Mesos: its disks stop until the agent is reactivated; their replicas are made elsewhere only after ${formatDuration(rebuildWaitMs(state, node.id))}`,
      subject: formatNode(node.id),
    },
    now,
  );
  return true;
}

/** Sees Mesos' word that the container is gone, which alone makes an executor dead. */
function noteExecutorEnd(state: State, disk: DiskRecord, status: TaskStatus): void {
  const node = state.facts.nodes.get(disk.node);
  if (status.executor_id !== undefined && status.executor_id.value !== node.executorId) return;
  if (status.agent_id !== undefined && status.agent_id.value !== node.agentId) return;
  // Of an earlier run of the executor: a new one has been started since.
  if (!isOfCurrentRun(node, disk)) return;
  const host = observedHost(state.mesos, node.id);
  const exitedBefore = host.executorExitedAtMs !== null && status.source === 'SOURCE_AGENT';
  const isEnd = TASK_MEANING[status.state] === 'ended';
  if (saysContainerEnded(status) || (exitedBefore && isEnd)) {
    observedNode(state, node.id).executor = 'dead';
  }
}

/** Whether the disk's task was launched into the run of the executor that was started last. */
export function isOfCurrentRun(node: NodeRecord, disk: DiskRecord): boolean {
  return (disk.executorRun ?? 0) === (node.executorRun ?? 0);
}

function forgetExecutor(state: State, disk: DiskRecord): void {
  const observed = observedNode(state, disk.node);
  if (observed.executor === 'running') observed.executor = 'unknown';
}

function setPhase(
  state: State,
  disk: DiskRecord,
  phase: DiskRecord['phase'],
  error: string,
  now: Now,
): void {
  state.facts.disks.update(disk.id, { phase, error, phaseSinceMs: now.wallMs });
}

/** The operator's word, through Mesos, that a node never comes back: what it held is lost. */
function markNodeGone(state: State, disk: DiskRecord, status: TaskStatus, now: Now): void {
  const node = state.facts.nodes.get(disk.node);
  if (status.agent_id !== undefined && status.agent_id.value !== node.agentId) return;
  loseNode(state, node, now);
}

function loseNode(state: State, node: NodeRecord, now: Now): void {
  for (const disk of state.facts.disks.values()) {
    if (disk.node !== node.id || disk.phase === 'lost') continue;
    state.facts.disks.update(disk.id, {
      phase: 'lost',
      phaseSinceMs: now.wallMs,
      error: 'Mesos marked the agent gone',
    });
    state.work.replan.set(disk.pool, `${formatNode(node.id)} is gone`);
  }
  if (node.admin === 'gone') return;
  state.facts.nodes.update(node.id, {
    admin: 'gone',
    removedAtVersion: node.registeredAtVersion === null ? null : nextMapVersion(state),
  });
  recordEvent(
    state,
    {
      severity: 'error',
      kind: 'node.gone',
      message: `An operator marked the agent of ${formatNode(node.id)} (${node.hostname}) gone in Mesos: its disks are lost and their data is rebuilt elsewhere`,
      subject: formatNode(node.id),
    },
    now,
  );
}

/**
 * An executor ended, or (without one) an agent was removed. Best effort in Mesos, so it only makes us
 * ask, and read the updates that follow with it in mind.
 */
export function onFailure(
  state: State,
  agentId: string | null,
  executorId: string | null,
  now: Now,
): void {
  for (const node of state.facts.nodes.values()) {
    if (node.agentId !== agentId) continue;
    if (executorId !== null && executorId !== node.executorId) continue;
    if (executorId !== null) observedHost(state.mesos, node.id).executorExitedAtMs = now.ms;
    let hasTask = false;
    for (const disk of state.facts.disks.values()) {
      if (disk.node !== node.id) continue;
      const task = observedTask(state.mesos, disk);
      if (task === null || task.life === 'dead') continue;
      hasTask = true;
      // The terminal updates are usually right behind: ask only when they do not come.
      task.askAtMs ??= now.ms + SAME_FAILURE_MS;
    }
    // An idle executor that we shut down has no task whose end could confirm it.
    if (executorId !== null && !hasTask) observedNode(state, node.id).executor = 'dead';
  }
}

/** Remembers a launch that this step sends; `isNewExecutor`: it starts the executor as well. */
export function noteLaunch(
  state: State,
  disk: DiskRecord,
  launch: { readonly taskId: string; readonly isNewExecutor: boolean },
  now: Now,
): void {
  const host = observedHost(state.mesos, disk.node);
  if (launch.isNewExecutor) {
    host.executorExitedAtMs = null;
    // From here on a new container may come up there at any moment.
    const observed = observedNode(state, disk.node);
    if (observed.executor === 'dead') observed.executor = 'unknown';
  }
  host.isExecutorReserved = true;
  trackTask(state.mesos, disk.id, launch.taskId, 'sent', now.ms);
}

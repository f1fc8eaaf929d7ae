/**
 * Rolling a new version of the executor over the cluster: one node at a time, and the next one only when everything is
 * whole again.
 *
 *   start ──▶ running ──▶ [ healthy for a while ▶ SHUTDOWN ▶ ended ▶ launched anew on its volumes ▶ serving ]* ──▶ done
 *              │  ▲ resume
 *   pause, or  ▼  │                                  rollback: the same, towards the version before
 *   trouble   paused / stopped
 *
 * A node that is away is left for later: the rest waits until its data is whole elsewhere, or it is back. When the node
 * in work does not come back in time, or fails again and again, the upgrade stops and says so; nothing else is touched.
 */
import { StorageError } from '../../../shared/base/errors.ts';
import { formatDisk, formatNode } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import type { CommandResult, Effect, ExecutorArtefact, UpgradeAction } from '../contract.ts';
import { recordEvent } from '../events.ts';
import { endJob, findRunningJob, startJob } from '../jobs/jobs.ts';
import { memberCount } from '../members/members.ts';
import { describeNode, disksOf } from '../members/sessions.ts';
import { observedHost } from '../mesos/mesos-state.ts';
import { executorIdOf } from '../mesos/offer-claims.ts';
import { isDiskServing, isNodeUp, observedNode } from '../nodes/node-life.ts';
import type { DiskPhase, JobRecord, NodeRecord, UpgradeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { attachedThere } from './decommission.ts';
import { activeUpgrade, findArtefact, targetOf, versionOf } from './executor-version.ts';

/** Everything has to be whole for so long before the next node's turn. */
const SETTLE_MS = 3_000;
/** A node that is not back by then (fetch, start, open its stores) is trouble. */
const RESTART_MS_MAX = 300_000;
/** Ends in a row on the node in work: the version does not start there. */
const FAILURES_MAX = 3;
/** An executor that was told to end has its grace period; then it is told again. */
const SHUTDOWN_EVERY_MS = 30_000;
const JOB_SUBJECT = 'executors';

const RUNNING_PHASES: ReadonlySet<DiskPhase> = new Set(['claiming', 'launched', 'serving', 'down']);

export function commandUpgrade(state: State, action: UpgradeAction, now: Now): CommandResult {
  switch (action) {
    case 'start':
      return start(state, now);
    case 'pause':
      return pause(state, now);
    case 'resume':
      return resume(state, now);
    case 'rollback':
      return rollBack(state, now);
  }
}

function start(state: State, now: Now): CommandResult {
  const known = activeUpgrade(state);
  const to = state.options.executor;
  if (known !== null) {
    const isSame = targetOf(known).version === to.version;
    if (isSame && known.phase === 'running') return done(state);
    const what = known.direction === 'back' ? 'a rollback' : `an upgrade to ${known.to.version}`;
    return conflict(
      `Cannot start an upgrade: ${what} is ${known.phase}; resume it, or roll it back`,
    );
  }
  const from = mostCommonOther(state, to.version);
  if (from === null) return { kind: 'done', id: null };
  begin(state, { from, to, direction: 'forward' }, now);
  return done(state);
}

/** What most of the nodes run that do not run this version; null when all do. */
function mostCommonOther(state: State, version: string): ExecutorArtefact | null {
  const found = new Map<string, { readonly artefact: ExecutorArtefact; count: number }>();
  for (const node of upgradable(state)) {
    const { artefact } = node;
    if (artefact === undefined || artefact.version === version) continue;
    const known = found.get(artefact.version);
    if (known === undefined) found.set(artefact.version, { artefact, count: 1 });
    else known.count += 1;
  }
  const [most] = [...found.values()].toSorted((a, b) => b.count - a.count);
  return most?.artefact ?? null;
}

type Course = Pick<UpgradeRecord, 'from' | 'to' | 'direction'>;

function begin(state: State, course: Course, now: Now): void {
  const upgrade: UpgradeRecord = {
    ...course,
    phase: 'running',
    reason: '',
    startedAtMs: now.wallMs,
    current: null,
  };
  state.facts.updateCluster({ upgrade });
  state.work.wholeSinceMs = null;
  for (const host of state.mesos.hosts.values()) {
    // Failures of the version that is left say nothing about the next one.
    host.failures = 0;
    host.retryAtMs = Math.min(host.retryAtMs, now.ms);
  }
  const target = targetOf(upgrade).version;
  const nodes = upgradable(state);
  const movesTotal = nodes.length;
  const movesDone = nodes.filter((node) => versionOf(state, node) === target).length;
  const before = findRunningJob(state, 'upgrade', JOB_SUBJECT);
  if (before !== null) endJob(state, before, { phase: 'cancelled' }, now);
  const word = course.direction === 'forward' ? 'upgraded' : 'rolled back';
  const reason = `an operator wants the executors ${word} to ${target}`;
  const job = startJob(state, { kind: 'upgrade', subject: JOB_SUBJECT, reason, movesTotal }, now);
  state.facts.jobs.update(job.id, { movesDone });
  say(
    state,
    'info',
    'upgrade.started',
    `Executors are ${word} to ${target}, one node at a time: ${movesTotal - movesDone} of ${movesTotal} nodes are left`,
    now,
  );
}

function pause(state: State, now: Now): CommandResult {
  const upgrade = activeUpgrade(state);
  if (upgrade === null) return conflict('Cannot pause: no upgrade runs');
  if (upgrade.phase !== 'running') return done(state);
  change(state, { phase: 'paused', reason: 'an operator paused it' });
  say(
    state,
    'info',
    'upgrade.paused',
    'The upgrade of the executors is paused; a node in work is finished',
    now,
  );
  return done(state);
}

function resume(state: State, now: Now): CommandResult {
  const upgrade = activeUpgrade(state);
  if (upgrade === null) return conflict('Cannot resume: no upgrade was paused or stopped');
  if (upgrade.phase === 'running') return done(state);
  const { current } = upgrade;
  if (current !== null) observedHost(state.mesos, current.node).failures = 0;
  change(state, {
    phase: 'running',
    reason: '',
    current: current === null ? null : { ...current, sinceMs: now.wallMs },
  });
  say(
    state,
    'info',
    'upgrade.resumed',
    'The upgrade of the executors goes on: an operator resumed it',
    now,
  );
  return done(state);
}

function rollBack(state: State, now: Now): CommandResult {
  const known = state.facts.cluster.upgrade ?? null;
  if (known === null) return conflict('Cannot roll back: the executors were never upgraded');
  if (known.direction === 'back') {
    return known.phase === 'done'
      ? conflict(`Cannot roll back further: the executors are back at ${known.from.version}`)
      : resume(state, now);
  }
  if (findArtefact(state, known.from) === null) {
    return conflict(
      `Cannot roll back to ${known.from.version}: this scheduler does not serve that version; put its manifest and files into the artefact directory`,
    );
  }
  begin(state, { from: known.from, to: known.to, direction: 'back' }, now);
  return done(state);
}

function done(state: State): CommandResult {
  return { kind: 'done', id: findRunningJob(state, 'upgrade', JOB_SUBJECT)?.id ?? null };
}

function conflict(text: string): CommandResult {
  return { kind: 'failed', error: new StorageError('conflict', text) };
}

function change(state: State, fields: Partial<UpgradeRecord>): void {
  const upgrade = state.facts.cluster.upgrade ?? null;
  if (upgrade !== null) state.facts.updateCluster({ upgrade: { ...upgrade, ...fields } });
}

function say(
  state: State,
  severity: 'info' | 'warning' | 'error',
  kind: string,
  message: string,
  now: Now,
): void {
  recordEvent(state, { severity, kind, message, subject: 'cluster' }, now);
}

/** Nodes that count: all that are part of the cluster. */
export function upgradable(state: State): NodeRecord[] {
  return [...state.facts.nodes.values()].filter(({ admin }) => admin !== 'gone');
}

// ── Every tick ───────────────────────────────────────────────────────────────────────────────

/** Finishes the node in work, or begins with the next one. */
export function superviseUpgrade(state: State, now: Now): Effect[] {
  const upgrade = activeUpgrade(state);
  if (upgrade === null) return [];
  const job = findRunningJob(state, 'upgrade', JOB_SUBJECT);
  count(state, upgrade, job);
  const { current } = upgrade;
  const node = current === null ? undefined : state.facts.nodes.find(current.node);
  if (current !== null && (node === undefined || node.admin === 'gone')) {
    change(state, { current: null });
    return [];
  }
  if (current !== null && node !== undefined) return restart(state, upgrade, node, now);
  if (upgrade.phase !== 'running') return [];
  const left = upgradable(state).filter(
    (each) => versionOf(state, each) !== targetOf(upgrade).version,
  );
  if (left.length === 0) {
    finish(state, upgrade, job, now);
    return [];
  }
  if (whyNotNext(state, now) !== null) return [];
  const next = left.find((each) => whyNotThis(state, each) === null);
  if (next !== undefined) take(state, upgrade, next, now);
  return [];
}

function count(state: State, upgrade: UpgradeRecord, job: JobRecord | null): void {
  if (job === null) return;
  const nodes = upgradable(state);
  const target = targetOf(upgrade).version;
  const movesDone = nodes.filter(
    (node) => versionOf(state, node) === target && node.id !== upgrade.current?.node,
  ).length;
  if (job.movesDone === movesDone && job.movesTotal === nodes.length) return;
  state.facts.jobs.update(job.id, { movesDone, movesTotal: nodes.length });
}

function take(state: State, upgrade: UpgradeRecord, node: NodeRecord, now: Now): void {
  const target = targetOf(upgrade);
  if (!hasTasks(state, node)) {
    // Nothing runs there: what is started next is the new one.
    const artefact = findArtefact(state, target) ?? target;
    const executorId = executorIdOf(node.id, artefact.version);
    state.facts.nodes.update(node.id, { artefact, executorId });
    return;
  }
  state.work.wholeSinceMs = null;
  observedHost(state.mesos, node.id).failures = 0;
  change(state, { current: { node: node.id, sinceMs: now.wallMs } });
  say(
    state,
    'info',
    'upgrade.node',
    `The executor of ${describeNode(node)} is restarted with ${target.version} instead of ${versionOf(state, node)}`,
    now,
  );
}

function hasTasks(state: State, node: NodeRecord): boolean {
  return disksOf(state, node.id).some((disk) => RUNNING_PHASES.has(disk.phase));
}

/** Ends the old executor; Mesos' offers then start the new one (offer-launch.ts); watches for trouble. */
function restart(state: State, upgrade: UpgradeRecord, node: NodeRecord, now: Now): Effect[] {
  const target = targetOf(upgrade);
  const host = observedHost(state.mesos, node.id);
  const isNew = versionOf(state, node) === target.version;
  if (isNew && isBack(state, node)) {
    change(state, { current: null });
    say(state, 'info', 'upgrade.node-done', `${describeNode(node)} runs ${target.version}`, now);
    return [];
  }
  const sinceMs = upgrade.current?.sinceMs ?? now.wallMs;
  if (upgrade.phase === 'running') {
    const lasted = now.wallMs - sinceMs;
    if (host.failures >= FAILURES_MAX) {
      stop(
        state,
        upgrade,
        `${describeNode(node)} failed ${host.failures} times in a row with ${target.version}`,
        now,
      );
    } else if (lasted >= RESTART_MS_MAX) {
      stop(
        state,
        upgrade,
        `${describeNode(node)} is not back ${formatDuration(lasted)} after its restart with ${target.version} began: ${whyNotBack(state, node)}`,
        now,
      );
    }
  }
  if (isNew || observedNode(state, node.id).executor === 'dead') return [];
  if (!state.mesos.isSubscribed || now.ms - host.shutdownAtMs < SHUTDOWN_EVERY_MS) return [];
  host.shutdownAtMs = now.ms;
  const shutdown = {
    executor_id: { value: node.executorId },
    agent_id: { value: node.agentId },
  };
  return [{ kind: 'mesos-call', call: { type: 'SHUTDOWN', shutdown } }];
}

/** The new executor is here, and all that it should serve is open. */
function isBack(state: State, node: NodeRecord): boolean {
  return whyNotBack(state, node) === '';
}

function whyNotBack(state: State, node: NodeRecord): string {
  const observed = observedNode(state, node.id);
  if (!isNodeUp(state, node) || observed.hello?.executorId !== node.executorId) {
    return 'its executor has not been heard';
  }
  for (const disk of disksOf(state, node.id)) {
    if (!RUNNING_PHASES.has(disk.phase) || isDiskServing(state, disk)) continue;
    return `${formatDisk(disk.id)} does not serve`;
  }
  return '';
}

function stop(state: State, upgrade: UpgradeRecord, reason: string, now: Now): void {
  change(state, { phase: 'stopped', reason });
  const way = upgrade.direction === 'forward' ? 'resume it, or roll it back' : 'resume it';
  say(
    state,
    'error',
    'upgrade.stopped',
    `The upgrade of the executors stopped: ${reason}; no other node is touched: ${way}`,
    now,
  );
}

function finish(state: State, upgrade: UpgradeRecord, job: JobRecord | null, now: Now): void {
  // The last node's data has to be whole, too.
  if (whyNotNext(state, now) !== null) return;
  change(state, { phase: 'done', current: null, reason: '' });
  if (job !== null) endJob(state, job, { phase: 'done' }, now);
  say(state, 'info', 'upgrade.done', `All executors run ${targetOf(upgrade).version}`, now);
}

/** Why no node may be restarted now; null when the cluster has been whole for a while. */
export function whyNotNext(state: State, now: Now): string | null {
  const reason = whyNotWhole(state);
  if (reason !== null) {
    state.work.wholeSinceMs = null;
    return reason;
  }
  state.work.wholeSinceMs ??= now.ms;
  const leftMs = SETTLE_MS - (now.ms - state.work.wholeSinceMs);
  return leftMs > 0 ? 'everything has to be whole for a moment first' : null;
}

function whyNotWhole(state: State): string | null {
  if (!state.mesos.isSubscribed) return 'there is no subscription at the Mesos master';
  const { unsettled, shortTargets } = state.work;
  const count = new Set([...unsettled, ...shortTargets]).size;
  if (count > 0) return `${count} placement groups are not whole, or not where they belong`;
  for (const disk of state.facts.disks.values()) {
    if (memberCount(state, disk.id) === 0 || isDiskServing(state, disk)) continue;
    return `${formatDisk(disk.id)} on ${formatNode(disk.node)} holds replicas and does not serve`;
  }
  return null;
}

/** Why this node has to wait although the cluster is whole. */
function whyNotThis(state: State, node: NodeRecord): string | null {
  if (hasTasks(state, node)) {
    return isNodeUp(state, node)
      ? null
      : `${describeNode(node)} is not up; it is upgraded when it is back`;
  }
  const [volume] = attachedThere(state, node);
  if (volume === undefined) return null;
  return `${describeNode(node)} has no disk that could start its executor again, and volume "${volume}" is attached there; attach it elsewhere`;
}

/** Why the upgrade does not get on, or what it does; for people. */
export function describeUpgrade(state: State, now: Now): string {
  const upgrade = activeUpgrade(state);
  if (upgrade === null) return '';
  if (upgrade.reason !== '') return upgrade.reason;
  const { current } = upgrade;
  const node = current === null ? undefined : state.facts.nodes.find(current.node);
  if (current !== null && node !== undefined) {
    const lasted = formatDuration(Math.max(0, now.wallMs - current.sinceMs));
    return `${describeNode(node)} has been in work for ${lasted}: ${whyNotBack(state, node) || 'it is ready'}`;
  }
  const whole = whyNotWhole(state);
  if (whole !== null) return `the next node waits: ${whole}`;
  const left = upgradable(state).filter(
    (each) => versionOf(state, each) !== targetOf(upgrade).version,
  );
  for (const each of left) {
    const why = whyNotThis(state, each);
    if (why === null) return 'the next node is due';
    if (each === left.at(-1)) return why;
  }
  return 'the last look is due';
}

/**
 * Giving the whole cluster back to Mesos, by an operator's explicit word:
 *
 *   releasing      volumes and placement groups are given up; every disk is released as a single one is
 *                  (offer-release.ts), executors without disks are shut down, their share is unreserved
 *   tearing-down   no offer has shown anything with our labels for a while: the framework is torn down, last of all
 *   done           Mesos has removed it; this scheduler must not subscribe again
 *
 * The phase is a fact, so a scheduler that starts in the middle goes on. It is the recorded intent for everything
 * that a record names, and for reservations with this cluster's label. A volume that no record names is left: nobody
 * knows what is in it. Agents that are away hold it up, because
 * their reservations would be left behind: bring them back, or forget their nodes.
 */
import { StorageError } from '../../../shared/base/errors.ts';
import { formatDisk, formatNode } from '../../../shared/base/ids.ts';
import type { UninstallStepView, UninstallView } from '../../../shared/model/api-views.ts';
import type { Command, CommandResult, Effect } from '../contract.ts';
import { whyKept } from '../disks/foreign-data.ts';
import { recordEvent } from '../events.ts';
import { endJob, findRunningJob, startJob } from '../jobs/jobs.ts';
import { dropAllPgs } from '../members/members.ts';
import { describeNode, disksOf, setDiskPhase } from '../members/sessions.ts';
import { observedHost } from '../mesos/mesos-state.ts';
import { buryLostDisk } from '../nodes/nodes.ts';
import type { NodeRecord, UninstallRecord, VolumeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';

/** Offers come within seconds after a REVIVE; what is not shown for so long is not there. */
const QUIET_MS = 10_000;
/** The master removes a framework at once; a call may be lost. */
const TEARDOWN_EVERY_MS = 5_000;
const JOB_SUBJECT = 'cluster';
/** Disks, executors, framework. */
const LAST_STEPS = 1;

export function isUninstalling(state: Pick<State, 'facts'>): boolean {
  return (state.facts.cluster.uninstall ?? null) !== null;
}

/** Why a scheduler must not begin on these facts; null when it may. */
export function whyUninstalled(state: Pick<State, 'facts'>): string | null {
  const { cluster } = state.facts;
  if (cluster.uninstall?.phase !== 'done') return null;
  return `Cluster "${cluster.name}" was uninstalled: its framework is torn down and nothing of it is left in Mesos; to begin anew, give the scheduler an empty state directory (or another store)`;
}

export function uninstall(
  state: State,
  command: Extract<Command, { kind: 'uninstall' }>,
  now: Now,
): CommandResult {
  const running = findRunningJob(state, 'uninstall', JOB_SUBJECT);
  if (isUninstalling(state)) return { kind: 'done', id: running?.id ?? null };
  const { name } = state.facts.cluster;
  if (command.name !== name) {
    const text = `Cannot uninstall: this is cluster "${name}", not "${command.name}"`;
    return failed('invalid-argument', text);
  }
  const [kept] = keptDisks(state);
  if (kept !== undefined) return failed('conflict', `Cannot uninstall cluster "${name}": ${kept}`);
  const volumes = readyVolumes(state);
  if (volumes.length > 0 && !command.isForced) {
    const names = volumes.slice(0, 5).map((volume) => `"${volume.name}"`);
    const more = volumes.length > names.length ? ', …' : '';
    const text = `Cannot uninstall cluster "${name}": it has ${volumes.length} volumes (${names.join(', ')}${more}), and their data would be destroyed; delete them, or force it`;
    return failed('conflict', text);
  }
  return { kind: 'done', id: begin(state, volumes, now) };
}

function failed(code: 'conflict' | 'invalid-argument', text: string): CommandResult {
  return { kind: 'failed', error: new StorageError(code, text) };
}

/** Disks that must not be destroyed: what is in them may be of others. */
function keptDisks(state: State): string[] {
  const sentences: string[] = [];
  for (const disk of state.facts.disks.values()) {
    const why = disk.phase === 'lost' ? null : whyKept(state, disk);
    if (why !== null) sentences.push(`${formatDisk(disk.id)} cannot be given back: ${why}`);
  }
  return sentences;
}

function readyVolumes(state: State): VolumeRecord[] {
  return [...state.facts.volumes.values()].filter(({ phase }) => phase === 'ready');
}

function begin(state: State, volumes: readonly VolumeRecord[], now: Now): number {
  const { facts } = state;
  const record: UninstallRecord = {
    phase: 'releasing',
    sinceMs: now.wallMs,
    volumes: volumes.map(({ name }) => name),
  };
  facts.updateCluster({ uninstall: record, upgrade: null });
  for (const job of facts.jobs.values()) {
    if (job.phase === 'running' || job.phase === 'paused') {
      endJob(state, job, { phase: 'cancelled' }, now);
    }
  }
  state.expansion.clear();
  state.work.replan.clear();
  for (const volume of [...facts.volumes.values()]) {
    facts.volumes.delete(volume.id);
    state.work.detaching.delete(volume.id);
    state.work.ioSamples.delete(volume.id);
  }
  dropAllPgs(state);
  const movesTotal = facts.disks.size + LAST_STEPS;
  const reason = 'an operator gives the whole cluster back';
  const job = startJob(state, { kind: 'uninstall', subject: JOB_SUBJECT, reason, movesTotal }, now);
  const lost =
    volumes.length === 0 ? 'no volume is left' : `${volumes.length} volumes are destroyed with it`;
  const message = `Cluster "${facts.cluster.name}" is being uninstalled by an operator: ${lost}; ${facts.disks.size} disks on ${facts.nodes.size} nodes are given back, then the framework is torn down`;
  recordEvent(
    state,
    { severity: 'warning', kind: 'cluster.uninstalling', message, subject: 'cluster' },
    now,
  );
  return job.id;
}

/** Every tick: releases what is not yet released, verifies, tears down. */
export function superviseUninstall(state: State, now: Now): Effect[] {
  const record = state.facts.cluster.uninstall ?? null;
  if (record === null) return [];
  if (record.phase === 'tearing-down') return tearDown(state, now);
  if (record.phase === 'done') return [];
  for (const disk of state.facts.disks.values()) {
    if (disk.phase === 'releasing') continue;
    if (disk.phase === 'lost') {
      buryLostDisk(state, disk);
      continue;
    }
    setDiskPhase(state, disk, { phase: 'releasing', error: '' }, now);
  }
  const job = findRunningJob(state, 'uninstall', JOB_SUBJECT);
  if (job !== null) {
    const movesDone = Math.max(0, job.movesTotal - LAST_STEPS - state.facts.disks.size);
    if (movesDone !== job.movesDone) state.facts.jobs.update(job.id, { movesDone });
  }
  if (!isVerified(state, now)) return [];
  state.facts.updateCluster({ uninstall: { ...record, phase: 'tearing-down' } });
  const message = 'Nothing with our labels is offered any more: the framework is torn down';
  recordEvent(
    state,
    { severity: 'info', kind: 'cluster.released', message, subject: 'cluster' },
    now,
  );
  return [];
}

/** Seen by this manager, after a REVIVE of its own. */
function isVerified(state: State, now: Now): boolean {
  const { work, mesos } = state;
  if (state.facts.disks.size > 0 || !mesos.isSubscribed) {
    work.bareSinceMs = null;
    return false;
  }
  work.bareSinceMs ??= now.ms;
  const sinceMs = Math.max(work.bareSinceMs, mesos.oursSeenAtMs);
  // A REVIVE clears the filters: whatever is free is offered after it.
  if (mesos.lastReviveMs < work.bareSinceMs || now.ms - sinceMs < QUIET_MS) return false;
  if (now.ms - mesos.lastReviveMs < QUIET_MS) return false;
  return unverifiedNodes(state).length === 0;
}

/** Nodes whose agent has not shown that nothing of ours is left there. */
function unverifiedNodes(state: State): NodeRecord[] {
  const bareSinceMs = state.work.bareSinceMs ?? Number.POSITIVE_INFINITY;
  return [...state.facts.nodes.values()].filter(
    ({ id, admin }) =>
      admin !== 'gone' && observedHost(state.mesos, id).cleanOfferAtMs < bareSinceMs,
  );
}

function tearDown(state: State, now: Now): Effect[] {
  const { mesos } = state;
  if (!mesos.isSubscribed || now.ms - mesos.teardownAtMs < TEARDOWN_EVERY_MS) return [];
  mesos.teardownAtMs = now.ms;
  return [{ kind: 'mesos-call', call: { type: 'TEARDOWN' } }];
}

/** Mesos says that the framework is removed: whether that is what we asked for, and the end of it. */
export function onFrameworkRemoved(state: State, now: Now): Effect[] | null {
  const record = state.facts.cluster.uninstall ?? null;
  if (record === null || record.phase === 'releasing') return null;
  state.facts.updateCluster({ uninstall: { ...record, phase: 'done' } });
  const job = findRunningJob(state, 'uninstall', JOB_SUBJECT);
  if (job !== null) {
    const whole = state.facts.jobs.update(job.id, { movesDone: job.movesTotal });
    endJob(state, whole, { phase: 'done' }, now);
  }
  const message = 'The cluster is uninstalled: Mesos has removed the framework';
  recordEvent(
    state,
    { severity: 'info', kind: 'cluster.uninstalled', message, subject: 'cluster' },
    now,
  );
  return [{ kind: 'abdicate', reason: whyUninstalled(state) ?? message, isPermanent: true }];
}

// ── For people ───────────────────────────────────────────────────────────────────────────────

/** The plan before, and how far it is afterwards. */
export function uninstallView(state: State): UninstallView {
  const { cluster } = state.facts;
  const phase = cluster.uninstall?.phase ?? 'none';
  const volumes = readyVolumes(state);
  const names = volumes.slice(0, 20).map(({ name }) => name);
  const blockers =
    phase !== 'none' || volumes.length === 0
      ? []
      : [
          `${volumes.length} volumes exist, and would be destroyed by force only: ${names.join(', ')}`,
        ];
  if (phase === 'none') blockers.push(...keptDisks(state));
  return { state: phase, clusterName: cluster.name, blockers, steps: steps(state) };
}

function steps(state: State): UninstallStepView[] {
  const { facts, mesos } = state;
  const phase = facts.cluster.uninstall?.phase ?? 'none';
  const volumes = readyVolumes(state).length;
  const disks = facts.disks.size;
  const nodes = [...facts.nodes.values()].filter(({ admin }) => admin !== 'gone');
  const executors = nodes.filter(({ id }) => state.nodes.get(id)?.executor === 'running').length;
  const isReleasing = phase === 'releasing';
  const isBare = isReleasing && disks === 0;
  const isPast = phase === 'tearing-down' || phase === 'done';
  const stateOf = (isDone: boolean, isRunning: boolean): UninstallStepView['state'] =>
    isDone ? 'done' : isRunning ? 'running' : 'waiting';
  const waiting = isBare ? unverifiedNodes(state).map(describeNode) : [];
  return [
    {
      name: 'volumes',
      state: stateOf(phase !== 'none', false),
      detail: `${volumes} volumes are destroyed`,
    },
    {
      name: 'disks',
      state: stateOf(isPast || isBare, isReleasing),
      detail: `${disks} disks are given back: task ended, volume destroyed, reservation removed${awayText(state, nodes)}`,
    },
    {
      name: 'executors',
      state: stateOf(isPast || (isBare && executors === 0), isReleasing),
      detail: `${executors} executors are shut down, and their cpus and memory given back`,
    },
    {
      name: 'verify',
      state: stateOf(isPast, isBare),
      detail:
        waiting.length === 0
          ? 'offers have to show that nothing with our labels is left'
          : `offers of ${waiting.slice(0, 5).join(', ')} have to show that nothing is left there`,
    },
    {
      name: 'teardown',
      state: stateOf(phase === 'done', phase === 'tearing-down'),
      detail: `framework "${facts.cluster.frameworkId ?? ''}" is torn down${mesos.isSubscribed ? '' : ', once Mesos is there again'}`,
    },
  ];
}

/** Who holds it up: nodes that are away keep their reservations. */
function awayText(state: State, nodes: readonly NodeRecord[]): string {
  const away = nodes.filter((node) => {
    const tasks = disksOf(state, node.id).map(({ id }) => state.mesos.tasks.get(id)?.life);
    return tasks.includes('away');
  });
  if (away.length === 0) return '';
  const names = away.slice(0, 5).map(({ id }) => formatNode(id));
  return `; out of sight of Mesos: ${names.join(', ')} (bring them back, or forget them)`;
}

/** What it waits for now, as one sentence. */
export function describeUninstall(state: State): string {
  const step = steps(state).find((each) => each.state === 'running');
  return step === undefined ? 'the next step is due' : `${step.name}: ${step.detail}`;
}

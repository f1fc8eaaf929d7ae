/**
 * Control sessions: who may open one, what a report says about the node and its disks, and the lease
 * that answers it. Fences are made and lifted in fencing.ts; what a report means for PGs is membership.ts.
 */
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import { formatDisk, formatNode } from '../../../shared/base/ids.ts';
import {
  CONTROL_PROTOCOL,
  CONTROL_PROTOCOL_OLDEST,
  type DiskReport,
  type NodeHello,
  type NodeReport,
} from '../../../shared/model/node-report.ts';
import type { Effect, Event } from '../contract.ts';
import { takeFinding } from '../disks/foreign-data.ts';
import { recordEvent } from '../events.ts';
import { isNodeMapped } from '../map.ts';
import { observedNode } from '../nodes/node-life.ts';
import { takeNotices } from '../notices.ts';
import type { DiskPhase, DiskRecord, NodeRecord } from '../records.ts';
import type { Now, ObservedNode, State } from '../state.ts';
import { sampleIo } from '../views/rates.ts';
import { nextMapVersion, unfence } from './fencing.ts';
import { takeIncarnation } from './suspects.ts';
import { noteNodeReturn } from './trust.ts';

type HelloEvent = Extract<Event, { kind: 'node-hello' }>;
type ReportEvent = Extract<Event, { kind: 'node-report' }>;
type ClosedEvent = Extract<Event, { kind: 'node-closed' }>;

/** Welcomes a node that Mesos gave us; refuses everybody else with a reason. */
export function onHello(state: State, event: HelloEvent, now: Now): Effect[] {
  const { session, hello } = event;
  const answer = findNode(state, hello);
  if (typeof answer === 'string') return [{ kind: 'refuse', session, reason: answer }];
  const observed = observedNode(state, answer.id);
  const effects: Effect[] = [];
  if (observed.session !== null && observed.session !== session) {
    state.work.nodeOfSession.delete(observed.session);
    const reason = 'the node opened a newer session';
    effects.push({ kind: 'close-session', session: observed.session, reason });
  }
  state.work.nodeOfSession.set(session, answer.id);
  registerAddresses(state, answer, hello, now);
  if (observed.hello?.incarnation !== hello.incarnation) {
    observed.report = null;
    state.usage.forgetNode(answer.id);
  }
  observed.session = session;
  observed.hello = hello;
  observed.mapVersion = hello.mapVersion;
  observed.executor = 'running';
  observed.lastReportAtMs = now.ms;
  observed.peerGrantAtMs = now.ms;
  // The full map that goes with the welcome is at least this new; no lease is given before it.
  observed.requiredVersion = Math.max(observed.requiredVersion, state.facts.cluster.mapVersion);
  effects.push({ kind: 'welcome', session, node: answer.id });
  return effects;
}

/** Takes in what the node says of itself and its disks; answers with a lease unless it is shut out. */
export function onReport(state: State, event: ReportEvent, now: Now): Effect[] {
  const { session, sequence, report } = event;
  const id = state.work.nodeOfSession.get(session);
  if (id === undefined) {
    return [
      { kind: 'close-session', session, reason: 'the session is not known: say hello again' },
    ];
  }
  const observed = observedNode(state, id);
  const { mapVersion } = state.facts.cluster;
  if ((report.keptMapVersion ?? 0) > mapVersion) {
    // It said hello before it had opened its disks, with no map of its own.
    state.work.nodeOfSession.delete(session);
    observed.session = null;
    observed.awaySinceMs ??= now.ms;
    return [
      { kind: 'refuse', session, reason: olderStore(report.keptMapVersion ?? 0, mapVersion) },
    ];
  }
  const previous = observed.report;
  // What volumes have stored is in the book: a large cluster has too much of it to keep it twice.
  observed.report = { ...report, volumeUsage: [] };
  state.usage.take(id, report, (volume) => state.facts.volumes.has(volume));
  observed.lastReportAtMs = now.ms;
  observed.mapVersion = report.mapVersion;
  // The report was on its way for a while: the grant was earlier rather than later.
  observed.peerGrantAtMs = now.ms - report.grantAgeMs;
  const node = state.facts.nodes.get(id);
  const isCurrent = report.mapVersion >= observed.requiredVersion;
  if (node.isFenced && isCurrent) readmit(state, node, now);
  if (!state.facts.nodes.get(id).isFenced) observed.awaySinceMs = null;
  takeDisks(state, node, { report, previous }, now);
  takeUsage(state, report);
  takeNotices(state, id, report, now);
  for (const attachment of report.attachments) sampleIo(state, attachment, now.ms);
  if (state.facts.nodes.get(id).isFenced || !isCurrent) return [];
  observed.leaseGrantedAtMs = now.ms;
  return [{ kind: 'lease', session, sequence, durationMs: state.options.leaseMs }];
}

/** The node may come back at any moment: only silence, or Mesos, makes it count as away. */
export function onClosed(state: State, event: ClosedEvent, now: Now): void {
  const id = state.work.nodeOfSession.get(event.session);
  if (id === undefined) return;
  state.work.nodeOfSession.delete(event.session);
  const observed = observedNode(state, id);
  if (observed.session !== event.session) return;
  observed.session = null;
  observed.awaySinceMs ??= now.ms;
}

/** Every tick: sessions that outlived their executor or node are closed, disks out of reach are down. */
export function superviseSessions(state: State, now: Now): Effect[] {
  const effects: Effect[] = [];
  for (const [id, observed] of state.nodes) {
    const node = state.facts.nodes.find(id);
    if (observed.session === null) continue;
    if (node !== undefined && node.admin !== 'gone' && observed.executor !== 'dead') continue;
    const reason = node?.admin === 'gone' ? 'the node was forgotten' : 'its executor is dead';
    effects.push({ kind: 'close-session', session: observed.session, reason });
    state.work.nodeOfSession.delete(observed.session);
    observed.session = null;
    observed.awaySinceMs ??= now.ms;
  }
  for (const node of state.facts.nodes.values()) {
    if (!node.isFenced) continue;
    for (const disk of disksOf(state, node.id)) {
      if (disk.phase !== 'serving') continue;
      setDiskPhase(state, disk, { phase: 'down', error: 'its node is out of reach' }, now);
    }
  }
  return effects;
}

/** A change of phase; `error` is empty when nothing is wrong. */
export function setDiskPhase(
  state: State,
  disk: DiskRecord,
  next: { readonly phase: DiskPhase; readonly error: string },
  now: Now,
): void {
  if (disk.phase === next.phase && disk.error === next.error) return;
  const phaseSinceMs = disk.phase === next.phase ? disk.phaseSinceMs : now.wallMs;
  state.facts.disks.update(disk.id, { ...next, phaseSinceMs });
}

/** Each side has to speak at least what the other still understands. */
function whyNotUnderstood({
  protocol = 1,
  oldestProtocol = protocol,
  version,
}: NodeHello): string | null {
  const executor = `executor ${version} speaks control protocol ${oldestProtocol} to ${protocol}`;
  const own = `this scheduler ${CONTROL_PROTOCOL_OLDEST} to ${CONTROL_PROTOCOL}`;
  if (protocol < CONTROL_PROTOCOL_OLDEST) {
    return `${executor}, ${own}: it is too old; upgrade with the scheduler version between them first`;
  }
  if (oldestProtocol > CONTROL_PROTOCOL) {
    return `${executor}, ${own}: the scheduler is too old; start the newer one again, and roll the executors back before an older one`;
  }
  return null;
}

/** The record of the node that says hello, or why it is refused. */
function findNode(state: State, hello: NodeHello): NodeRecord | string {
  const { clusterId } = state.facts.cluster;
  const mismatch = whyNotUnderstood(hello);
  if (mismatch !== null) return mismatch;
  if (hello.clusterId !== '' && hello.clusterId !== clusterId) {
    return `node belongs to cluster "${hello.clusterId}", this is cluster "${clusterId}"`;
  }
  if (hello.term > state.term) {
    return `node has followed a manager of term ${hello.term}, this one has term ${state.term}`;
  }
  const { mapVersion } = state.facts.cluster;
  if (hello.mapVersion > mapVersion) {
    return olderStore(hello.mapVersion, mapVersion);
  }
  let forgotten: NodeRecord | null = null;
  for (const node of state.facts.nodes.values()) {
    if (node.agentId !== hello.agentId) continue;
    if (node.admin === 'gone') forgotten = node;
    else if (node.executorId === hello.executorId) return node;
    else {
      return `executor "${hello.executorId}" is not the one that agent "${hello.agentId}" should run ("${node.executorId}")`;
    }
  }
  if (forgotten !== null) return `${formatNode(forgotten.id)} was forgotten by an operator`;
  return `agent "${hello.agentId}" is not a node of this cluster`;
}

function olderStore(seen: number, mapVersion: number): string {
  return `node has applied map ${seen}, the metadata store is at ${mapVersion}: an older store was put back; bring back the newest`;
}

function registerAddresses(state: State, node: NodeRecord, hello: NodeHello, now: Now): void {
  const isNew = !isNodeMapped(node);
  const { dataAddress, grantAddress } = hello;
  if (!isNew && node.dataAddress === dataAddress && node.grantAddress === grantAddress) return;
  state.facts.nodes.update(node.id, {
    dataAddress,
    grantAddress,
    registeredAtVersion: node.registeredAtVersion ?? nextMapVersion(state),
  });
  if (!isNew) return;
  const message = `${formatNode(node.id)} (${node.hostname}) joined the cluster: its executor said hello`;
  const subject = formatNode(node.id);
  recordEvent(state, { severity: 'info', kind: 'node.joined', message, subject }, now);
}

function readmit(state: State, node: NodeRecord, now: Now): void {
  unfence(state, node);
  const message = `${formatNode(node.id)} (${node.hostname}) is back and knows the present map`;
  const subject = formatNode(node.id);
  recordEvent(state, { severity: 'info', kind: 'node.up', message, subject }, now);
  noteNodeReturn(state, node, now);
}

interface Reports {
  readonly report: NodeReport;
  readonly previous: NodeReport | null;
}

function takeDisks(state: State, node: NodeRecord, reports: Reports, now: Now): void {
  const { disks } = state.facts;
  const named = new Set<DiskId>();
  for (const report of reports.report.disks) {
    const disk = disks.find(report.id);
    if (disk === undefined || disk.node !== node.id) continue;
    named.add(disk.id);
    takeDisk(state, disk, report, now);
  }
  // The first report of a session is compared with the facts, later ones with the one before.
  const before =
    reports.previous?.disks.map((disk) => disk.id) ??
    disksOf(state, node.id).map((disk) => disk.id);
  for (const id of before) {
    const disk = disks.find(id);
    if (disk === undefined || named.has(id) || disk.node !== node.id) continue;
    if (disk.phase !== 'serving') continue;
    setDiskPhase(state, disk, { phase: 'down', error: 'its task is not running' }, now);
  }
}

function takeDisk(state: State, known: DiskRecord, report: DiskReport, now: Now): void {
  let disk = known;
  if (report.uuid !== disk.uuid) {
    const message = `${formatDisk(disk.id)} reports identity "${report.uuid}", expected "${disk.uuid}": it is not used`;
    const subject = formatDisk(disk.id);
    recordEvent(state, { severity: 'error', kind: 'disk.foreign', message, subject }, now);
    return;
  }
  takeFinding(state, disk, report, now);
  disk = state.facts.disks.get(disk.id);
  if (takeIncarnation(state, disk, report, now) === 'foreign') {
    rejectStore(state, disk, now);
    return;
  }
  const { capacityBytes, usedBytes } = report;
  const observed = state.disks.get(disk.id);
  if (observed === undefined) state.disks.set(disk.id, { capacityBytes, usedBytes });
  else {
    observed.capacityBytes = capacityBytes;
    observed.usedBytes = usedBytes;
  }
  // What failed stays out until an operator activates it; what is given back has no way back.
  if (disk.phase === 'failed' || disk.phase === 'lost' || disk.phase === 'releasing') return;
  if (report.status === 'serving') {
    // Its store is open, but a node that is shut out serves nobody.
    if (state.facts.nodes.get(disk.node).isFenced) return;
    setDiskPhase(state, disk, { phase: 'serving', error: '' }, now);
    return;
  }
  if (report.status === 'failed') {
    setDiskPhase(state, disk, { phase: 'failed', error: report.error }, now);
    const message = `${formatDisk(disk.id)} on ${formatNode(disk.node)} was taken out: ${report.error}`;
    const subject = formatDisk(disk.id);
    recordEvent(state, { severity: 'error', kind: 'disk.failed', message, subject }, now);
    return;
  }
  if (disk.phase === 'serving') {
    setDiskPhase(state, disk, { phase: 'down', error: 'its store is being opened' }, now);
  }
}

/** What the disk held in sync is not in this store: it must not look like a replica. */
function rejectStore(state: State, disk: DiskRecord, now: Now): void {
  if (disk.phase === 'failed' || disk.phase === 'lost' || disk.phase === 'releasing') return;
  const error =
    'its store is not the one that held its replicas: the directory was emptied or replaced';
  setDiskPhase(state, disk, { phase: 'failed', error }, now);
  const message = `${formatDisk(disk.id)} on ${formatNode(disk.node)} was taken out: ${error}`;
  const subject = formatDisk(disk.id);
  recordEvent(state, { severity: 'error', kind: 'disk.failed', message, subject }, now);
}

/** Bytes per PG: the first in-sync member's word counts, as long as it has one. */
function takeUsage(state: State, report: NodeReport): void {
  for (const usage of report.pgUsage) {
    const known = state.pgBytes.get(usage.pg);
    // Nearly always: nobody who looks further would change anything.
    if (known === usage.bytes) continue;
    const pg = state.facts.pgs.find(usage.pg);
    if (pg === undefined || !pg.inSync.includes(usage.disk)) continue;
    if (pg.inSync[0] === usage.disk || known === undefined || usage.bytes > known) {
      state.pgBytes.set(usage.pg, usage.bytes);
    }
  }
}

export function disksOf(state: State, node: NodeId): DiskRecord[] {
  return [...state.facts.diskIndex.ofNode(node)].map((id) => state.facts.disks.get(id));
}

/** For people: the node with its host. */
export function describeNode(node: NodeRecord): string {
  return `${formatNode(node.id)} (${node.hostname})`;
}

/** How long ago the node was heard; null when this manager never heard it. */
export function silenceMs(observed: ObservedNode, nowMs: number): number | null {
  return observed.lastReportAtMs === Number.NEGATIVE_INFINITY
    ? null
    : nowMs - observed.lastReportAtMs;
}

/**
 * Data that is not ours, or that nobody has looked at: never touched, always named. A disk whose directory holds
 * something else is out of use until its directory is empty; a volume that may hold data of others is
 * kept, since Mesos deletes what is in a volume that is given back.
 */
import { diskId, formatDisk, formatNode } from '../../../shared/base/ids.ts';
import type { DiskReport, ForeignFinding } from '../../../shared/model/node-report.ts';
import { recordEvent } from '../events.ts';
import { memberCount } from '../members/members.ts';
import { isNodeUp } from '../nodes/node-life.ts';
import { misfitOf, selectorOf, tierOf } from '../pools/selection.ts';
import type { DiskRecord } from '../records.ts';
import type { Now, State } from '../state.ts';

const WHAT: Readonly<Record<ForeignFinding['kind'], string>> = {
  'other-cluster': 'a store of another Cistern cluster',
  'other-disk': 'the store of another disk of this cluster',
  'unknown-files': 'files that are not ours',
  unreadable: 'something that cannot be read',
  'other-version': 'a store of another version, or of another program',
};

const ADVICE: Readonly<Record<ForeignFinding['kind'], string>> = {
  'other-cluster': 'if that cluster is gone for good, empty the directory by hand',
  'other-disk':
    'see where that disk should be; if its data is not needed, empty the directory by hand',
  'unknown-files': 'move the files away, or choose another disk',
  unreadable: 'check its permissions and its file system',
  'other-version': 'start the version that wrote it, or empty the directory by hand',
};

/** What was found where, and what to do; empty when nothing stands in the way. */
export function describeForeign(state: State, disk: DiskRecord): string {
  const foreign = disk.foreign ?? null;
  if (foreign === null) return '';
  const host = state.facts.nodes.find(disk.node)?.hostname ?? formatNode(disk.node);
  const where = disk.sourceRoot ?? `the volume of ${formatDisk(disk.id)} on the root disk`;
  const what = `"${where}" on ${host} holds ${WHAT[foreign.kind]} (${foreign.found}): it is left as it is`;
  const owner = awaitedOwner(state, disk);
  if (owner !== null) {
    const { id, node } = owner;
    return `${what}; ${formatDisk(id)} goes on here as soon as nobody can serve it on ${formatNode(node)} any more: that is certain when its lease has run out, or when you know that its executor is dead and say so with "cistern node forget ${formatNode(node)}"`;
  }
  return `${what}; ${ADVICE[foreign.kind]}, then "cistern disk activate ${formatDisk(disk.id)}"`;
}

/** The disk of ours, last seen on another node that is out of reach now, whose store is in the directory; or null. */
export function awaitedOwner(state: State, disk: DiskRecord): DiskRecord | null {
  const { foreign = null } = disk;
  if (foreign?.kind !== 'other-disk' || foreign.disk === undefined) return null;
  const owner = state.facts.disks.find(diskId(foreign.disk));
  if (owner === undefined || owner.uuid !== foreign.uuid || owner.node === disk.node) return null;
  const node = state.facts.nodes.find(owner.node);
  return node === undefined || isNodeUp(state, node) ? null : owner;
}

/** Why its volume must not be destroyed, whatever else is wanted; null: it may. */
export function whyKept(state: State, disk: DiskRecord): string | null {
  if ((disk.foreign ?? null) !== null) return describeForeign(state, disk);
  if (disk.isUnexamined !== true) return null;
  return `nobody has looked into "${disk.sourceRoot ?? ''}" yet, and Mesos would delete what is in it`;
}

/** Its executor has opened a store there: the directory was empty, or is ours. */
export function noteOpened(state: State, disk: DiskRecord): void {
  const isKnown = disk.isUnexamined !== true && (disk.foreign ?? null) === null;
  if (!isKnown) state.facts.disks.update(disk.id, { isUnexamined: false, foreign: null });
}

/** From a report: what was found, that there is nothing (any more), and what device it is. */
export function takeFinding(state: State, disk: DiskRecord, report: DiskReport, now: Now): void {
  takeTier(state, disk, report);
  if (report.status === 'serving') {
    noteOpened(state, disk);
    releaseMisfit(state, state.facts.disks.get(disk.id), now);
    return;
  }
  const { foreign } = report;
  if (report.status !== 'failed' || foreign === undefined) return;
  const known = disk.foreign ?? null;
  if (known?.kind === foreign.kind && known.found === foreign.found) return;
  const record = state.facts.disks.update(disk.id, { foreign });
  const message = `${formatDisk(disk.id)} cannot be used: ${describeForeign(state, record)}`;
  const subject = formatDisk(disk.id);
  recordEvent(state, { severity: 'error', kind: 'disk.foreign', message, subject }, now);
}

/** What the executor found stays with the place, for the next claim; the agent's attribute overrides it. */
function takeTier(state: State, disk: DiskRecord, report: DiskReport): void {
  if (report.tier === undefined) return;
  const node = state.facts.nodes.get(disk.node);
  const place = `${disk.kind}:${disk.sourceRoot ?? ''}`;
  if (node.tiers?.[place] !== report.tier) {
    state.facts.nodes.update(node.id, { tiers: { ...node.tiers, [place]: report.tier } });
  }
  const tier = tierOf(node.attributes, report.tier);
  if (tier !== null && tier !== disk.tier) state.facts.disks.update(disk.id, { tier });
}

/**
 * A disk whose tier was not known when it was claimed, and turns out to be another than its pool takes: it goes
 * back before it ever holds data. One that holds some stays until an operator applies the pools.
 */
function releaseMisfit(state: State, disk: DiskRecord, now: Now): void {
  if (disk.phase !== 'claiming' && disk.phase !== 'launched') return;
  if (memberCount(state, disk.id) > 0 || (state.work.targetsOfDisk.get(disk.id) ?? 0) > 0) return;
  const pool = state.facts.pools.find(disk.pool);
  if (pool === undefined) return;
  const node = state.facts.nodes.get(disk.node);
  const misfit = misfitOf(pool, selectorOf(pool, state.options), disk, node);
  if (misfit?.kind !== 'tier') return;
  const error = `its pool does not take it: ${misfit.message}`;
  state.facts.disks.update(disk.id, { phase: 'releasing', phaseSinceMs: now.wallMs, error });
  const message = `${formatDisk(disk.id)} on ${formatNode(disk.node)} is given back to Mesos: ${misfit.message}`;
  const subject = formatDisk(disk.id);
  recordEvent(state, { severity: 'info', kind: 'disk.unselected', message, subject }, now);
}

/**
 * Gives back what we hold: volumes and reservations of disks whose release is a durable fact, and the
 * executor's reservation on a node without disks.
 *
 * The rule that nothing here breaks: a volume is destroyed only when it carries our labels, and its disk's
 * record says `releasing`, and its task has certainly ended. What the store does not know is never touched.
 */
import { assert } from '../../../shared/base/assert.ts';
import { formatDisk, formatNode } from '../../../shared/base/ids.ts';
import { whyKept } from '../disks/foreign-data.ts';
import { recordEvent } from '../events.ts';
import { memberCount } from '../members/members.ts';
import type { DiskRecord, NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { observedHost, observedTask } from './mesos-state.ts';
import { askWhy, executorPresence, type Site } from './offer-launch.ts';
import { type Entry, isOurs, labelOf, placeName } from './offer-resources.ts';

/** An offer that was made before our ACCEPT was handled may still show what it gave back. */
const SETTLE_MS = 2_000;
/** What was given back and is not offered again within this (offers flow, filters cleared) is gone. */
const CONFIRM_MS = 30_000;

export function isTaskOver(state: State, disk: DiskRecord): boolean {
  const task = observedTask(state.mesos, disk);
  if (task === null || task.life === 'dead') return true;
  // Nobody hears of it any more: its agent is gone, and what it held belongs to the one that came after.
  return task.life === 'away' && task.isOfOldAgent;
}

/** Whether a PG has or wants a replica there. */
function isNamed(state: State, disk: DiskRecord): boolean {
  return memberCount(state, disk.id) > 0 || (state.work.targetsOfDisk.get(disk.id) ?? 0) > 0;
}

/** Plans DESTROY and UNRESERVE of a releasing disk; forgets the disk when the offer shows none of it. */
export function releaseDisk(state: State, site: Site, disk: DiskRecord, now: Now): void {
  assert(disk.phase === 'releasing', 'only a releasing disk is given back', { disk: disk.id });
  // Its data has left, says the phase; the members are what counts.
  if (isNamed(state, disk)) return;
  const { ledger, plan, node } = site;
  const matches = [isOurs(node.id, 'disk', labelOf(disk)), isOurs(node.id, 'task', labelOf(disk))];
  const held = ledger.entries.filter(
    (entry) => entry.milli > 0 && matches.some((match) => match(entry)),
  );
  if (!isTaskOver(state, disk)) {
    if (held.length > 0) askWhy(state, disk, now);
    return;
  }
  const kept = held.some(({ resource }) => resource.disk?.persistence !== undefined)
    ? whyKept(state, disk)
    : null;
  if (kept !== null) {
    keepVolume(state, disk, kept, now);
    return;
  }
  if (held.length > 0) {
    for (const entry of held) giveBack(site, entry);
    state.mesos.releases.set(disk.id, { sinceMs: now.ms, isSent: true });
    assert(plan.unreserve.length > 0, 'what is held is given back', { disk: disk.id });
    return;
  }
  const release = state.mesos.releases.get(disk.id);
  // What the master gives back after an ACCEPT (done or refused) is offered whole and at once.
  if (release?.isSent === true && now.ms - release.sinceMs >= SETTLE_MS) {
    forgetDisk(state, disk, now);
  }
}

/**
 * Mesos deletes what is in a volume that is destroyed: what may be of others stays reserved instead. What
 * nobody has looked into yet is brought up once more, and given back when its executor found nothing.
 */
function keepVolume(state: State, disk: DiskRecord, why: string, now: Now): void {
  const name = formatDisk(disk.id);
  state.mesos.releases.delete(disk.id);
  const isToBeExamined =
    (disk.foreign ?? null) === null && state.facts.nodes.get(disk.node).admin !== 'gone';
  state.facts.disks.update(disk.id, {
    phase: isToBeExamined ? 'down' : 'failed',
    phaseSinceMs: now.wallMs,
    error: `it is not given back yet: ${why}`,
    isDraining: isToBeExamined,
  });
  const next = isToBeExamined ? '; its executor looks first' : '';
  const message = `${name} on ${formatNode(disk.node)} stays reserved and is not given back: ${why}${next}`;
  const severity = isToBeExamined ? 'warning' : 'error';
  recordEvent(state, { severity, kind: 'disk.kept', message, subject: name }, now);
}

/** Plans DESTROY, when it is a volume, and UNRESERVE of all that is left of the entry. */
export function giveBack(site: Pick<Site, 'ledger' | 'plan'>, entry: Entry): void {
  const { ledger, plan } = site;
  const resource = ledger.takeFrom(entry, entry.milli);
  const persistence = resource.disk?.persistence;
  if (persistence === undefined) {
    plan.unreserve.push(resource);
    return;
  }
  plan.destroy.push(resource);
  const source = resource.disk?.source;
  const { disk: _volume, ...bare } = resource;
  plan.unreserve.push(source === undefined ? bare : { ...bare, disk: { source } });
}

/** Every tick: releases that Mesos never showed again, and those of which nothing was ever held. */
export function confirmReleases(state: State, now: Now): void {
  const { mesos, facts } = state;
  for (const disk of facts.disks.values()) {
    if (disk.phase !== 'releasing') continue;
    if (!isTaskOver(state, disk) || isNamed(state, disk)) continue;
    const release = mesos.releases.get(disk.id);
    if (release === undefined) {
      mesos.releases.set(disk.id, { sinceMs: now.ms, isSent: false });
      continue;
    }
    const { sinceMs } = release;
    // Only offers that could have shown it count: after a REVIVE (which clears filters), of its agent.
    const host = observedHost(mesos, disk.node);
    // A node that was given up need not offer anything any more.
    const isHeard =
      facts.nodes.get(disk.node).admin === 'gone' || host.lastOfferAtMs >= sinceMs + SETTLE_MS;
    const couldShow = mesos.lastReviveMs >= sinceMs && isHeard;
    if (couldShow && now.ms - sinceMs >= CONFIRM_MS) forgetDisk(state, disk, now);
  }
}

function forgetDisk(state: State, disk: DiskRecord, now: Now): void {
  assert(!isNamed(state, disk), 'no PG names a disk that is given back', { disk: disk.id });
  if (disk.isDraining) withholdPlace(state, disk);
  state.facts.disks.delete(disk.id);
  state.disks.delete(disk.id);
  state.work.diskUses.delete(disk.id);
  state.work.diskAwaySinceMs.delete(disk.id);
  state.work.pgsOfDisk.delete(disk.id);
  state.work.targetsOfDisk.delete(disk.id);
  state.mesos.tasks.delete(disk.id);
  state.mesos.releases.delete(disk.id);
  recordEvent(
    state,
    {
      severity: 'info',
      kind: 'disk.released',
      message: `${formatDisk(disk.id)} (${disk.kind} ${disk.sourceRoot ?? 'root disk'}) on ${formatNode(disk.node)} was given back to Mesos`,
      subject: formatDisk(disk.id),
    },
    now,
  );
}

/** An operator emptied this disk on purpose: it must not be claimed again a second later. */
function withholdPlace(state: State, disk: DiskRecord): void {
  const node = state.facts.nodes.get(disk.node);
  const place = placeName(disk.kind, disk.sourceRoot);
  const withheld = node.withheldPlaces ?? [];
  if (withheld.includes(place)) return;
  state.facts.nodes.update(node.id, { withheldPlaces: [...withheld, place] });
}

/** An offer that lists the executor as running and offers its share as well: that share is another one. */
function releaseSurplus(site: Site): void {
  const { node, ledger, plan, offer } = site;
  if (offer.executor_ids?.some(({ value }) => value === node.executorId) !== true) return;
  const isShare = isOurs(node.id, 'executor', null);
  for (const entry of ledger.entries) {
    if (entry.milli > 0 && isShare(entry)) plan.unreserve.push(ledger.takeFrom(entry, entry.milli));
  }
}

/** Whether the node's executor has no more use: no disk of ours, and no volume attached there. */
export function isExecutorIdle(state: State, node: NodeRecord): boolean {
  for (const id of state.facts.diskIndex.ofNode(node.id)) {
    if (state.facts.disks.get(id).phase !== 'lost') return false;
  }
  for (const volume of state.facts.volumes.values()) {
    if (volume.attachedTo === node.id) return false;
  }
  return true;
}

/**
 * Plans UNRESERVE of cpus and memory that serve nothing: the executor's, once neither disks nor the
 * executor are there, and what was reserved twice because an earlier reservation could not be seen.
 */
export function releaseExecutor(state: State, site: Site): void {
  releaseSurplus(site);
  const { node, ledger, plan } = site;
  const host = observedHost(state.mesos, node.id);
  const held = ledger.entries.filter(
    (entry) => entry.milli > 0 && isOurs(node.id, 'executor', null)(entry),
  );
  if (held.length > 0) host.isExecutorReserved = true;
  if (!isExecutorIdle(state, node) || executorPresence(state, site) !== 'none') return;
  for (const entry of held) plan.unreserve.push(ledger.takeFrom(entry, entry.milli));
  // Shown again when the ACCEPT was in vain.
  host.isExecutorReserved = false;
}

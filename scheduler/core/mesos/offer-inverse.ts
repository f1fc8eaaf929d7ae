/**
 * Maintenance that operators announce in Mesos: inverse offers are answered at once, with "yes" when the
 * loss of that node for a while is covered by replicas elsewhere, and the window is kept with the node.
 * The answers are advice to the operator; nothing is moved because of them.
 */
import { formatNode, type PgId } from '../../../shared/base/ids.ts';
import type { InverseOffer } from '../../../shared/mesos/scheduler-messages.ts';
import type { Effect } from '../contract.ts';
import { recordEvent } from '../events.ts';
import { isNodeUp } from '../node-life.ts';
import type { NodeRecord, PgRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { windowOf } from './offer-nodes.ts';
import { callMesos } from './tasks.ts';

/** An acceptance stands until the schedule changes; Mesos asks again then in any case. */
const ACCEPT_FOR_S = 3600;
/** A refusal is reconsidered: replicas are being rebuilt meanwhile. */
const DECLINE_FOR_S = 60;
/** Inverse offers remembered to understand their rescission; more than agents that anybody plans at once. */
const REMEMBERED_MAX = 4096;

export function onInverseOffers(state: State, offers: readonly InverseOffer[], now: Now): Effect[] {
  return offers.map((offer) => answer(state, offer, now));
}

function answer(state: State, offer: InverseOffer, now: Now): Effect {
  const agentId = offer.agent_id?.value;
  const node = agentId === undefined ? undefined : findNode(state, agentId);
  if (node !== undefined && agentId !== undefined) {
    const { inverseOffers } = state.mesos;
    if (inverseOffers.size >= REMEMBERED_MAX) inverseOffers.clear();
    inverseOffers.set(offer.id.value, agentId);
    keepWindow(state, node, offer);
  }
  const uncovered = node === undefined ? null : whyNotCovered(state, node);
  const inverse_offer_ids = [offer.id];
  if (node !== undefined) report(state, node, uncovered, now);
  if (uncovered === null) {
    const filters = { refuse_seconds: ACCEPT_FOR_S };
    return callMesos({
      type: 'ACCEPT_INVERSE_OFFERS',
      accept_inverse_offers: { inverse_offer_ids, filters },
    });
  }
  const filters = { refuse_seconds: DECLINE_FOR_S };
  return callMesos({
    type: 'DECLINE_INVERSE_OFFERS',
    decline_inverse_offers: { inverse_offer_ids, filters },
  });
}

/** The schedule changed: what follows (offers, other inverse offers) tells the new window, if any. */
export function onInverseOfferRescinded(state: State, offerId: string): void {
  const agentId = state.mesos.inverseOffers.get(offerId);
  state.mesos.inverseOffers.delete(offerId);
  const node = agentId === undefined ? undefined : findNode(state, agentId);
  if (node === undefined || node.unavailableFromMs === null) return;
  state.facts.nodes.update(node.id, { unavailableFromMs: null, unavailableUntilMs: null });
}

function findNode(state: State, agentId: string): NodeRecord | undefined {
  for (const node of state.facts.nodes.values()) {
    if (node.agentId === agentId && node.admin !== 'gone') return node;
  }
  return undefined;
}

function keepWindow(state: State, node: NodeRecord, offer: InverseOffer): void {
  const { fromMs, untilMs } = windowOf(offer.unavailability);
  if (node.unavailableFromMs === fromMs && node.unavailableUntilMs === untilMs) return;
  state.facts.nodes.update(node.id, { unavailableFromMs: fromMs, unavailableUntilMs: untilMs });
}

/** `null` when every PG with a replica in sync there keeps enough of them on other nodes. */
function whyNotCovered(state: State, node: NodeRecord): string | null {
  for (const disk of state.facts.disks.values()) {
    if (disk.node !== node.id) continue;
    for (const id of state.work.pgsOfDisk.get(disk.id) ?? []) {
      const pg = state.facts.pgs.find(id);
      if (pg === undefined || !pg.inSync.includes(disk.id)) continue;
      const left = countElsewhere(state, pg, node);
      const needed = minInSyncOf(state, pg.id);
      if (left < needed) {
        return `placement group ${pg.id} would have ${left} replicas in sync elsewhere, and needs ${needed}`;
      }
    }
  }
  return null;
}

/** Replicas in sync on other nodes that are up and not on their way into maintenance themselves. */
function countElsewhere(state: State, pg: PgRecord, leaving: NodeRecord): number {
  let count = 0;
  for (const id of pg.inSync) {
    const disk = state.facts.disks.find(id);
    const node = disk === undefined ? undefined : state.facts.nodes.find(disk.node);
    if (disk === undefined || node === undefined || node.id === leaving.id) continue;
    if (disk.phase === 'serving' && isNodeUp(state, node) && node.unavailableFromMs === null) {
      count += 1;
    }
  }
  return count;
}

function minInSyncOf(state: State, pg: PgId): number {
  for (const family of state.facts.families.values()) {
    if (pg >= family.pgBase && pg < family.pgBase + family.pgCount) {
      return Math.max(1, family.minInSync);
    }
  }
  return 1;
}

function report(state: State, node: NodeRecord, uncovered: string | null, now: Now): void {
  const verdict =
    uncovered === null
      ? 'its data is covered by other nodes'
      : `we ask to wait, because ${uncovered}`;
  recordEvent(
    state,
    {
      severity: uncovered === null ? 'info' : 'warning',
      kind: 'node.maintenance',
      message: `Maintenance of ${formatNode(node.id)} (${node.hostname}) is announced in Mesos: ${verdict}`,
      subject: formatNode(node.id),
    },
    now,
  );
}

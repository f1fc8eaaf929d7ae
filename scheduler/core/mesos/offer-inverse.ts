/**
 * Maintenance that operators announce in Mesos: the window is kept with the node (maintenance.ts empties it in
 * time), and inverse offers are answered at once: "yes" when nobody would miss the node, else "not yet", with the reason
 * in an event. The answers are advice to the operator, who sees them in the maintenance status.
 */
import { formatNode } from '../../../shared/base/ids.ts';
import type { InverseOffer } from '../../../shared/mesos/scheduler-messages.ts';
import type { Effect } from '../contract.ts';
import { recordEvent } from '../events.ts';
import { describeNode } from '../members/sessions.ts';
import { findWindow, whyNotSafe } from '../planned/maintenance.ts';
import type { NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { windowOf } from './offer-nodes.ts';
import { callMesos } from './tasks.ts';

/** Asked again after this: a volume may have been attached there meanwhile. */
const ACCEPT_FOR_S = 600;
/** A refusal is reconsidered soon: the node is being emptied. */
const DECLINE_FOR_S = 20;
/** Inverse offers remembered to understand their rescission; more than agents that anybody plans at once. */
const REMEMBERED_MAX = 4096;

export function onInverseOffers(state: State, offers: readonly InverseOffer[], now: Now): Effect[] {
  return offers.map((offer) => answer(state, offer, now));
}

function answer(state: State, offer: InverseOffer, now: Now): Effect {
  const agentId = offer.agent_id?.value;
  const node = agentId === undefined ? undefined : findNode(state, agentId);
  const inverse_offer_ids = [offer.id];
  if (node === undefined || agentId === undefined) return accept(inverse_offer_ids);
  const { inverseOffers } = state.mesos;
  if (inverseOffers.size >= REMEMBERED_MAX) inverseOffers.clear();
  inverseOffers.set(offer.id.value, agentId);
  const { fromMs, untilMs } = windowOf(offer.unavailability);
  const isNews = node.unavailableFromMs !== fromMs || node.unavailableUntilMs !== untilMs;
  const known = isNews
    ? state.facts.nodes.update(node.id, { unavailableFromMs: fromMs, unavailableUntilMs: untilMs })
    : node;
  // A window that is over asks for nothing.
  const obstacle = findWindow(known, now) === null ? null : whyNotSafe(state, known, now);
  report(state, known, obstacle, now);
  if (obstacle === null) return accept(inverse_offer_ids);
  const filters = { refuse_seconds: DECLINE_FOR_S };
  return callMesos({
    type: 'DECLINE_INVERSE_OFFERS',
    decline_inverse_offers: { inverse_offer_ids, filters },
  });
}

function accept(inverse_offer_ids: readonly InverseOffer['id'][]): Effect {
  const filters = { refuse_seconds: ACCEPT_FOR_S };
  return callMesos({
    type: 'ACCEPT_INVERSE_OFFERS',
    accept_inverse_offers: { inverse_offer_ids, filters },
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

/** Once per verdict: the same question comes every few seconds, and how much is left changes all the time. */
function report(state: State, node: NodeRecord, obstacle: string | null, now: Now): void {
  const verdicts = state.mesos.inverseVerdicts;
  const isSafe = obstacle === null;
  const before = verdicts.get(node.id);
  if (before?.isSafe === isSafe && before.fromMs === node.unavailableFromMs) return;
  verdicts.set(node.id, { isSafe, fromMs: node.unavailableFromMs });
  const verdict = isSafe ? 'it may be taken down, nobody would miss it' : `not yet: ${obstacle}`;
  recordEvent(
    state,
    {
      severity: 'info',
      kind: isSafe ? 'node.maintenance-accepted' : 'node.maintenance-declined',
      message: `Mesos asks for ${describeNode(node)}, whose maintenance is announced: ${verdict}`,
      subject: formatNode(node.id),
    },
    now,
  );
}

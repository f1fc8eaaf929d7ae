/**
 * Answers an agent's offer while the cluster is uninstalled: disks on record are released as ever, and whatever else
 * is reserved with this cluster's label is unreserved, whatever it names; nothing is claimed or launched. Volumes that no
 * record names stay (and an event names them): nobody knows what is in them.
 */
import { parseDisk } from '../../../shared/base/ids.ts';
import type { Offer } from '../../../shared/mesos/scheduler-messages.ts';
import { disksOf } from '../members/sessions.ts';
import type { NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { observedHost } from './mesos-state.ts';
import { executorPresence } from './offer-launch.ts';
import type { OfferPlan } from './offer-plan.ts';
import { giveBack, releaseDisk } from './offer-release.ts';
import type { Entry, OfferLedger } from './offer-resources.ts';

export interface UninstallSite {
  /** null: no record names this agent, but it may hold what a lost record named. */
  readonly node: NodeRecord | null;
  readonly offer: Offer;
  readonly ledger: OfferLedger;
  readonly plan: OfferPlan;
}

/** Plans DESTROY and UNRESERVE; returns whether something has to wait. */
export function giveEverythingBack(state: State, site: UninstallSite, now: Now): boolean {
  const { node, offer, ledger, plan } = site;
  for (const disk of node === null ? [] : disksOf(state, node.id)) {
    if (node === null || disk.phase !== 'releasing') continue;
    releaseDisk(state, { node, offer, ledger, plan }, disk, now);
  }
  let isWaiting = false;
  for (const entry of site.ledger.entries) {
    if (entry.milli <= 0 || entry.owner.kind !== 'ours') continue;
    if (isInUse(state, site, entry)) {
      isWaiting = true;
      continue;
    }
    giveBack(site, entry);
  }
  if (node !== null) observedHost(state.mesos, node.id).isExecutorReserved = isWaiting;
  return isWaiting;
}

/** Whether a task or executor of ours may still run on it. */
function isInUse(state: State, site: UninstallSite, { owner, resource }: Entry): boolean {
  if (owner.kind !== 'ours') return true;
  const { node, offer, plan } = site;
  if (owner.disk === null) {
    return node !== null && executorPresence(state, { node, offer, plan }) !== 'none';
  }
  const id = parseDisk(owner.disk);
  // What a record names is released as a single disk is: that looks what is in it first.
  if (id !== null && state.facts.disks.has(id)) return true;
  // What none names: a reservation goes back, a volume may hold anything and stays.
  return resource.disk?.persistence !== undefined;
}

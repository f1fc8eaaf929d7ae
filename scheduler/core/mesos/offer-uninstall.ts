/**
 * Answers an agent's offer while the cluster is uninstalled: everything that carries this cluster's label is destroyed
 * and unreserved, whatever node or disk it names; nothing is claimed or launched. The recorded intent is the
 * uninstall itself; what its own task or executor may still use is not offered, or waits until they ended.
 */
import { parseDisk } from '../../../shared/base/ids.ts';
import type { Offer } from '../../../shared/mesos/scheduler-messages.ts';
import type { NodeRecord } from '../records.ts';
import { disksOf } from '../sessions.ts';
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
function isInUse(state: State, site: UninstallSite, { owner }: Entry): boolean {
  if (owner.kind !== 'ours') return true;
  const { node, offer, plan } = site;
  if (owner.disk === null) {
    return node !== null && executorPresence(state, { node, offer, plan }) !== 'none';
  }
  const id = parseDisk(owner.disk);
  const disk = id === null ? undefined : state.facts.disks.find(id);
  // What a record names is released as a single disk is: that looks what is in it first.
  return disk !== undefined;
}

/**
 * Takes note of what an agent's offer held and why it was not taken, for people and for the plan of the
 * pools. It decides nothing, and what it keeps is replaced by the agent's next offer.
 */
import { type DiskId, parseDisk } from '../../../shared/base/ids.ts';
import type { Offer } from '../../../shared/mesos/scheduler-messages.ts';
import {
  type PassReason,
  SEEN_AGENTS_MAX,
  SEEN_DISKS_MAX,
  SEEN_EARLIER_MAX,
  type SeenAgent,
  type SeenAnswer,
  type SeenDisk,
} from '../pools/pass-reason.ts';
import type { NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { attributesOf, domainOf } from './offer-nodes.ts';
import { bytesOf, type Entry, type OfferLedger, placeOf } from './offer-resources.ts';

export class OfferLook {
  readonly #offer: Offer;
  readonly #disks = new Map<Entry, SeenDisk>();
  #reason: PassReason | null = null;

  /** Before anything is taken from the ledger. */
  constructor(offer: Offer, ledger: OfferLedger) {
    this.#offer = offer;
    for (const entry of ledger.entries) {
      if (this.#disks.size >= SEEN_DISKS_MAX) break;
      if (entry.resource.name === 'disk') this.#disks.set(entry, seenDisk(entry));
    }
  }

  /** Nothing of the agent is taken, whatever it offers. */
  refuse(reason: PassReason): void {
    this.#reason = reason;
  }

  pass(entry: Entry, reasons: readonly PassReason[]): void {
    const seen = this.#disks.get(entry);
    if (seen !== undefined) this.#disks.set(entry, { ...seen, reasons });
  }

  claim(entry: Entry, disk: DiskId): void {
    const seen = this.#disks.get(entry);
    if (seen !== undefined) this.#disks.set(entry, { ...seen, disk });
  }

  keep(state: State, node: NodeRecord | null, answer: SeenAgent['answer'], now: Now): void {
    const { seenAgents } = state.mesos;
    const agentId = this.#offer.agent_id.value;
    const before = seenAgents.get(agentId);
    // Deleted first: the map is in the order of the last offers, and the oldest goes when it is full.
    seenAgents.delete(agentId);
    if (seenAgents.size >= SEEN_AGENTS_MAX) {
      for (const oldest of seenAgents.keys()) {
        seenAgents.delete(oldest);
        break;
      }
    }
    seenAgents.set(agentId, {
      agentId,
      hostname: this.#offer.hostname,
      node: node?.id ?? null,
      attributes: attributesOf(this.#offer),
      ...domainOf(this.#offer),
      atMs: now.ms,
      answer,
      reason: this.#reason,
      disks: [...this.#disks.values()],
      earlier: before === undefined ? [] : earlierOf(before),
    });
  }
}

/** Texts are made when an answer becomes an earlier one: once per offer, of what is kept anyway. */
function earlierOf(before: SeenAgent): readonly SeenAnswer[] {
  const { atMs, answer, earlier } = before;
  return [{ atMs, answer, why: describeAnswer(before) }, ...earlier].slice(0, SEEN_EARLIER_MAX);
}

/** What came of one offer, as one sentence. */
export function describeAnswer(seen: Pick<SeenAgent, 'reason' | 'disks' | 'answer'>): string {
  if (seen.reason !== null) return `Nothing was taken: ${seen.reason.message}`;
  const free = seen.disks.filter(({ owner }) => owner === 'free');
  const taken = free.filter(({ disk }) => disk !== null);
  if (taken.length > 0) return `${taken.length} of ${free.length} free disks were claimed`;
  if (seen.answer === 'accepted') return 'Our own resources were used';
  if (seen.disks.length === 0) return 'It offered no disk';
  if (free.length === 0) return 'It offered no free disk';
  const first = free[0]?.reasons[0]?.message ?? 'no pool wants disks now';
  return `None of ${free.length} free disks was taken: ${first}`;
}

function seenDisk({ resource, owner }: Entry): SeenDisk {
  const place = placeOf(resource);
  const known = {
    kind: place?.kind ?? null,
    root: place?.root ?? null,
    sizeBytes: bytesOf(resource),
  };
  if (owner.kind === 'ours') {
    const disk = owner.disk === null ? null : parseDisk(owner.disk);
    return { ...known, owner: 'ours', disk, reasons: [] };
  }
  const why = whyForeign(resource, owner);
  if (why === null) return { ...known, owner: 'free', disk: null, reasons: [] };
  return { ...known, owner: 'foreign', disk: null, reasons: [why] };
}

function whyForeign(resource: Entry['resource'], owner: Entry['owner']): PassReason | null {
  const reason = (kind: PassReason['kind'], message: string): PassReason => ({
    kind,
    pool: null,
    message,
  });
  if (owner.kind === 'other-cluster') {
    return reason('role', `it is reserved by cluster "${owner.cluster}"`);
  }
  if (owner.kind === 'static') {
    return reason(
      'role',
      "the agent's configuration reserves it to our own role, where it cannot carry our labels",
    );
  }
  if (owner.kind === 'foreign') {
    const top = resource.reservations?.at(-1);
    if (resource.revocable !== undefined) return reason('role', 'it is revocable');
    if (resource.provider_id !== undefined) return reason('role', 'a resource provider has it');
    return reason('role', `it is reserved to role "${top?.role ?? ''}" without our labels`);
  }
  if (placeOf(resource) === null) {
    return reason('kind', `it is a ${resource.disk?.source?.type ?? 'unknown'} disk, none of ours`);
  }
  if (resource.disk?.persistence !== undefined) {
    return reason('role', `it is a persistent volume of somebody else`);
  }
  return null;
}

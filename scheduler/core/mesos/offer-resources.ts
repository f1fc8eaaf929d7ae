/**
 * Offered resources as we see them: whose they are (by reservation labels), which of them are disks, and a
 * ledger from which exact amounts are taken.
 *
 * Mesos compares resources structurally, so a taken resource is the offered object with another amount
 * and nothing else changed. Amounts are fixed-point with three decimals: whole thousandths here. A disk is
 * offered in MiB.
 */
import { assert } from '../../../shared/base/assert.ts';
import { type DiskId, formatDisk, formatNode, type NodeId } from '../../../shared/base/ids.ts';
import { MiB } from '../../../shared/base/units.ts';
import type { Labels, ReservationInfo, Resource } from '../../../shared/mesos/messages.ts';
import type { DiskRecord } from '../records.ts';
import type { State } from '../state.ts';

export const LABEL = {
  cluster: 'cistern.cluster',
  node: 'cistern.node',
  disk: 'cistern.disk',
  intent: 'cistern.intent',
} as const;

/** What a reservation is for: the node's executor, a disk's task, or the disk itself. */
export type Intent = 'executor' | 'task' | 'disk';

/** Whose a resource is. Labels are all that survives a new agent id, so they alone make it ours. */
export type Owner =
  | { readonly kind: 'free' }
  | {
      readonly kind: 'ours';
      readonly node: string;
      readonly disk: string | null;
      readonly intent: string;
    }
  | { readonly kind: 'other-cluster'; readonly cluster: string }
  /** Reserved to our own role by the agent's configuration: no label can be put on it. */
  | { readonly kind: 'static' }
  /** Somebody else's, or of a kind that we never use (revocable, from a provider). */
  | { readonly kind: 'foreign' };

export interface DiskPlace {
  readonly kind: 'mount' | 'path' | 'root';
  readonly root: string | null;
}

export const toMilli = (value: number): number => Math.round(value * 1000);
const fromMilli = (milli: number): number => milli / 1000;

export function milliOf(resource: Resource): number {
  return toMilli(resource.scalar?.value ?? 0);
}

/** Whole MiB of the resource, in bytes: what a store on it may use. */
export function bytesOf(resource: Resource): number {
  return Math.floor(milliOf(resource) / 1000) * MiB;
}

export function withMilli(resource: Resource, milli: number): Resource {
  assert(milli > 0, 'an amount is positive', { milli });
  return { ...resource, scalar: { value: fromMilli(milli) } };
}

export function ownerOf(state: State, resource: Resource): Owner {
  if (resource.revocable !== undefined || resource.provider_id !== undefined) {
    return { kind: 'foreign' };
  }
  const { role } = state.options;
  const top = resource.reservations?.at(-1);
  if (top === undefined) return { kind: 'free' };
  const cluster = findLabel(top.labels, LABEL.cluster);
  if (cluster === null) {
    if (top.role === role && top.type !== 'DYNAMIC') return { kind: 'static' };
    // Reserved to a role above ours: ours to refine with a labelled reservation on top.
    const isAbove = top.role !== undefined && role.startsWith(`${top.role}/`);
    return isAbove ? { kind: 'free' } : { kind: 'foreign' };
  }
  if (cluster !== state.facts.cluster.clusterId) return { kind: 'other-cluster', cluster };
  return {
    kind: 'ours',
    node: findLabel(top.labels, LABEL.node) ?? '',
    disk: findLabel(top.labels, LABEL.disk),
    intent: findLabel(top.labels, LABEL.intent) ?? '',
  };
}

function findLabel(labels: Labels | undefined, key: string): string | null {
  return labels?.labels?.find((label) => label.key === key)?.value ?? null;
}

/** `mount:/mnt/a`, `root:`: how records name a place. */
export function placeName(kind: DiskPlace['kind'], root: string | null): string {
  return `${kind}:${root ?? ''}`;
}

/** The place that a disk resource names; `null` for kinds that we do not use (BLOCK, RAW). */
export function placeOf(resource: Resource): DiskPlace | null {
  const source = resource.disk?.source;
  if (source === undefined) return { kind: 'root', root: null };
  if (source.type === 'MOUNT') return { kind: 'mount', root: source.mount?.root ?? '' };
  if (source.type === 'PATH') return { kind: 'path', root: source.path?.root ?? '' };
  return null;
}

/** The disk's number in the labels of what is reserved for it. */
export function labelOf(disk: Pick<DiskRecord, 'id' | 'reservedAs'>): DiskId {
  return disk.reservedAs ?? disk.id;
}

/** Our reservation for something on a node; equal for ever, since it is part of the executor's identity. */
export function ourReservation(
  state: State,
  node: NodeId,
  intent: Intent,
  disk: DiskId | null,
): ReservationInfo {
  const labels = [
    { key: LABEL.cluster, value: state.facts.cluster.clusterId },
    { key: LABEL.node, value: formatNode(node) },
    ...(disk === null ? [] : [{ key: LABEL.disk, value: formatDisk(disk) }]),
    { key: LABEL.intent, value: intent },
  ];
  const { role, principal } = state.options;
  return { type: 'DYNAMIC', role, principal, labels: { labels } };
}

/** The resource with our reservation on top of those it has. */
export function reserve(resource: Resource, reservation: ReservationInfo): Resource {
  return { ...resource, reservations: [...(resource.reservations ?? []), reservation] };
}

export interface Entry {
  readonly resource: Resource;
  readonly owner: Owner;
  /** What is left of it. */
  milli: number;
}

/** What one agent offers, as amounts that shrink while they are taken. */
export class OfferLedger {
  readonly entries: readonly Entry[];

  constructor(state: State, resources: readonly Resource[]) {
    this.entries = resources
      .filter((resource) => resource.type === 'SCALAR')
      .map((resource) => ({
        resource,
        owner: ownerOf(state, resource),
        milli: milliOf(resource),
      }));
  }

  /** How much of `name` is left in entries that `matches` accepts. */
  available(name: string, matches: (entry: Entry) => boolean): number {
    let sum = 0;
    for (const entry of this.entries) {
      if (entry.resource.name === name && matches(entry)) sum += entry.milli;
    }
    return sum;
  }

  /** Takes up to `milli`, from several entries when one is not enough. */
  take(name: string, milli: number, matches: (entry: Entry) => boolean): Resource[] {
    const taken: Resource[] = [];
    let missing = milli;
    for (const entry of this.entries) {
      if (missing <= 0) break;
      if (entry.resource.name !== name || entry.milli <= 0 || !matches(entry)) continue;
      const part = Math.min(missing, entry.milli);
      taken.push(this.takeFrom(entry, part));
      missing -= part;
    }
    return taken;
  }

  takeFrom(entry: Entry, milli: number): Resource {
    assert(milli <= entry.milli, 'no more is taken than is offered', { milli, left: entry.milli });
    entry.milli -= milli;
    return withMilli(entry.resource, milli);
  }
}

/** May be reserved by us: disks also on top of a reservation for a role above ours. */
export const isFree = (entry: Entry): boolean => entry.owner.kind === 'free';

/** Below our own reservation of cpus and memory: nothing, or static reservations to roles above ours. */
export type ShareBase = readonly ReservationInfo[];

/** Free, with just these reservations: cpus and memory of a node come from one base only. */
export function isOn(base: ShareBase): (entry: Entry) => boolean {
  const key = baseKey(base);
  return ({ owner, resource }) =>
    owner.kind === 'free' && baseKey(resource.reservations ?? []) === key;
}

/** Reservations as text, whatever the order of their fields was on the wire. */
function baseKey(base: ShareBase): string {
  return JSON.stringify(
    base.map(({ type, role, principal, labels }) => [type, role, principal, labels?.labels ?? []]),
  );
}

/** The bases of free cpus in an offer: what nobody has reserved first. */
export function basesOf(ledger: OfferLedger): readonly ShareBase[] {
  const bases = new Map<string, ShareBase>([[baseKey([]), []]]);
  for (const { resource, owner } of ledger.entries) {
    const base = resource.reservations ?? [];
    if (resource.name === 'cpus' && owner.kind === 'free') bases.set(baseKey(base), base);
  }
  return [...bases.values()];
}

/** Matches what is reserved for one purpose of ours. */
export function isOurs(
  node: NodeId,
  intent: Intent,
  disk: DiskId | null,
): (entry: Entry) => boolean {
  const nodeText = formatNode(node);
  const diskText = disk === null ? null : formatDisk(disk);
  return ({ owner }) =>
    owner.kind === 'ours' &&
    owner.node === nodeText &&
    owner.disk === diskText &&
    owner.intent === intent;
}

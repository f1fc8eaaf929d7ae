/**
 * Arithmetic on lists of Mesos resources: containment, sum, difference, and Mesos' way to print
 * them.
 *
 * Two resources with the same identity (name, reservations, disk, allocation …) are amounts of the
 * same thing and merge. MOUNT disks and persistent volumes are exclusive: each is contained whole
 * or not at all. Scalars are fixed-point with three decimals, as in Mesos.
 */

import { assert } from '../../shared/base/assert.ts';
import type { Labels, ReservationInfo, Resource, ValueRange } from '../../shared/mesos/messages.ts';

export type Resources = readonly Resource[];

type Span = { readonly begin: number; readonly end: number };

/** Three decimals, in thousandths. */
function millis(value: number): number {
  return Math.round(value * 1000);
}

export function scalarOf(resource: Resource): number {
  return resource.scalar?.value ?? 0;
}

/** Whether the resource must be taken whole. */
export function isExclusive(resource: Resource): boolean {
  return resource.disk?.persistence !== undefined || resource.disk?.source?.type === 'MOUNT';
}

export function isVolume(resource: Resource): boolean {
  return resource.disk?.persistence !== undefined;
}

/** What makes two resources the same kind of thing, as text. */
function identity(resource: Resource): string {
  const { persistence, volume, source } = resource.disk ?? {};
  return JSON.stringify([
    resource.name,
    resource.type,
    resource.allocation_info?.role ?? null,
    (resource.reservations ?? []).map(reservationIdentity),
    persistence === undefined ? null : [persistence.id, persistence.principal ?? null],
    volume === undefined ? null : [volume.mode, volume.container_path, volume.host_path ?? null],
    source === undefined
      ? null
      : [source.type, source.path?.root ?? null, source.mount?.root ?? null, source.id ?? null],
    resource.revocable !== undefined,
    resource.shared !== undefined,
    resource.provider_id?.value ?? null,
  ]);
}

function reservationIdentity(reservation: ReservationInfo): unknown {
  return [
    reservation.type ?? null,
    reservation.role ?? null,
    reservation.principal ?? null,
    labelPairs(reservation.labels),
  ];
}

function labelPairs(labels: Labels | undefined): readonly unknown[] {
  return (labels?.labels ?? []).map((label) => [label.key, label.value ?? null]);
}

export function sameReservations(a: Resource, b: Resource): boolean {
  const identityOf = (resource: Resource) =>
    JSON.stringify((resource.reservations ?? []).map(reservationIdentity));
  return identityOf(a) === identityOf(b);
}

function spans(resource: Resource): Span[] {
  const list = (resource.ranges?.range ?? []).map((range: ValueRange) => ({
    begin: Number(range.begin),
    end: Number(range.end),
  }));
  return mergeSpans(list);
}

function mergeSpans(list: readonly Span[]): Span[] {
  const merged: Span[] = [];
  for (const span of [...list].sort((a, b) => a.begin - b.begin)) {
    const last = merged.at(-1);
    if (last !== undefined && span.begin <= last.end + 1) {
      merged[merged.length - 1] = { begin: last.begin, end: Math.max(last.end, span.end) };
    } else merged.push(span);
  }
  return merged;
}

function subtractSpans(from: readonly Span[], taken: readonly Span[]): Span[] {
  let rest = [...from];
  for (const hole of taken) {
    rest = rest.flatMap((span) => {
      if (hole.end < span.begin || hole.begin > span.end) return [span];
      const left = { begin: span.begin, end: hole.begin - 1 };
      const right = { begin: hole.end + 1, end: span.end };
      return [left, right].filter((part) => part.begin <= part.end);
    });
  }
  return rest;
}

function isEmpty(resource: Resource): boolean {
  if (resource.type === 'SCALAR') return millis(scalarOf(resource)) <= 0;
  if (resource.type === 'RANGES') return spans(resource).length === 0;
  return (resource.set?.item ?? []).length === 0;
}

/** Whether `whole` (of the same identity) has all of `part`. */
function holds(whole: Resource, part: Resource): boolean {
  if (whole.type === 'SCALAR') {
    const have = millis(scalarOf(whole));
    const want = millis(scalarOf(part));
    return isExclusive(whole) ? have === want : have >= want;
  }
  if (whole.type === 'RANGES') return subtractSpans(spans(part), spans(whole)).length === 0;
  const items = new Set(whole.set?.item ?? []);
  return (part.set?.item ?? []).every((item) => items.has(item));
}

function plus(a: Resource, b: Resource): Resource {
  if (a.type === 'SCALAR') {
    return { ...a, scalar: { value: (millis(scalarOf(a)) + millis(scalarOf(b))) / 1000 } };
  }
  if (a.type === 'RANGES') {
    return { ...a, ranges: { range: mergeSpans([...spans(a), ...spans(b)]) } };
  }
  return { ...a, set: { item: [...new Set([...(a.set?.item ?? []), ...(b.set?.item ?? [])])] } };
}

function minus(a: Resource, b: Resource): Resource {
  if (a.type === 'SCALAR') {
    return { ...a, scalar: { value: (millis(scalarOf(a)) - millis(scalarOf(b))) / 1000 } };
  }
  if (a.type === 'RANGES') return { ...a, ranges: { range: subtractSpans(spans(a), spans(b)) } };
  const taken = new Set(b.set?.item ?? []);
  return { ...a, set: { item: (a.set?.item ?? []).filter((item) => !taken.has(item)) } };
}

/** The sum; amounts of the same thing become one entry, exclusive ones stay apart. */
export function sum(...lists: readonly Resources[]): Resource[] {
  const result: Resource[] = [];
  for (const resource of lists.flat()) {
    if (isEmpty(resource)) continue;
    const key = identity(resource);
    const index = isExclusive(resource) ? -1 : result.findIndex((one) => identity(one) === key);
    const same = result[index];
    if (same === undefined) result.push(resource);
    else result[index] = plus(same, resource);
  }
  return result;
}

/** The first entry of `list` that holds all of `part`. */
function findHolder(list: Resources, part: Resource): number {
  const key = identity(part);
  return list.findIndex((resource) => identity(resource) === key && holds(resource, part));
}

export function contains(whole: Resources, part: Resources): boolean {
  let rest = sum(whole);
  for (const resource of sum(part)) {
    if (findHolder(rest, resource) < 0) return false;
    rest = subtractAvailable(rest, [resource]);
  }
  return true;
}

/** `whole` without `part`; everything in `part` must be there. */
export function subtract(whole: Resources, part: Resources): Resource[] {
  assert(contains(whole, part), 'the subtracted resources are there', {
    whole: formatResources(whole),
    part: formatResources(part),
  });
  return subtractAvailable(whole, part);
}

/** `whole` without as much of `part` as is there. */
export function subtractAvailable(whole: Resources, part: Resources): Resource[] {
  const rest = sum(whole);
  for (const resource of part) {
    const exact = findHolder(rest, resource);
    const key = identity(resource);
    const index =
      exact >= 0 || isExclusive(resource) ? exact : rest.findIndex((one) => identity(one) === key);
    const holder = rest[index];
    if (holder === undefined) continue;
    const left = isExclusive(holder) ? undefined : minus(holder, resource);
    if (left === undefined || isEmpty(left)) rest.splice(index, 1);
    else rest[index] = left;
  }
  return rest;
}

/** The entries and amounts that both have. */
export function intersect(a: Resources, b: Resources): Resource[] {
  return subtractAvailable(a, subtractAvailable(a, b));
}

export function withoutAllocation(resources: Resources): Resource[] {
  return resources.map(({ allocation_info: _, ...rest }) => rest);
}

export function allocatedTo(role: string, resources: Resources): Resource[] {
  return resources.map((resource) => ({ ...resource, allocation_info: { role } }));
}

/** Total of the scalars with this name, whatever their reservation. */
export function scalarTotal(resources: Resources, name: string): number {
  const list = resources.filter((resource) => resource.name === name);
  return list.reduce((total, resource) => total + millis(scalarOf(resource)), 0) / 1000;
}

/**
 * Turns the old spelling (`role` and `reservation`) into the stack of reservations, and drops an
 * empty stack, so that equal things look equal.
 */
export function normalize(resource: Resource): Resource {
  const { role, reservation, reservations, ...rest } = resource;
  if (reservations !== undefined && reservations.length > 0) return { ...rest, reservations };
  if (role === undefined || role === '*') return rest;
  const upgraded: ReservationInfo =
    reservation === undefined
      ? { type: 'STATIC', role }
      : { type: 'DYNAMIC', role, ...pick(reservation) };
  return { ...rest, reservations: [upgraded] };
}

function pick(reservation: ReservationInfo): Pick<ReservationInfo, 'principal' | 'labels'> {
  return { principal: reservation.principal, labels: reservation.labels };
}

/** As Mesos prints resources in its error messages. */
export function formatResources(resources: Resources): string {
  return resources.length === 0 ? '{}' : resources.map(formatResource).join('; ');
}

export function formatResource(resource: Resource): string {
  const role = resource.allocation_info?.role;
  const allocated = role === undefined ? '' : `(allocated: ${role})`;
  const stack = (resource.reservations ?? []).map(formatReservation);
  const reserved = stack.length === 0 ? '' : `(reservations: [${stack.join(',')}])`;
  return `${resource.name}${allocated}${reserved}${formatDisk(resource)}:${formatAmount(resource)}`;
}

function formatReservation(reservation: ReservationInfo): string {
  const labels = (reservation.labels?.labels ?? []).map((label) => `${label.key}: ${label.value}`);
  const parts = [reservation.type ?? 'UNKNOWN', reservation.role ?? ''];
  if (reservation.principal !== undefined) parts.push(reservation.principal);
  if (reservation.labels !== undefined) parts.push(`{${labels.join(', ')}}`);
  return `(${parts.join(',')})`;
}

function formatDisk(resource: Resource): string {
  const { source, persistence, volume } = resource.disk ?? {};
  const parts: string[] = [];
  if (source !== undefined) {
    parts.push(`${source.type}:${source.path?.root ?? source.mount?.root ?? ''}`);
  }
  if (persistence !== undefined) parts.push(`${persistence.id}:${volume?.container_path ?? ''}`);
  return parts.length === 0 ? '' : `[${parts.join(',')}]`;
}

function formatAmount(resource: Resource): string {
  if (resource.type === 'SCALAR') return String(millis(scalarOf(resource)) / 1000);
  if (resource.type === 'RANGES') {
    return `[${spans(resource)
      .map((span) => `${span.begin}-${span.end}`)
      .join(', ')}]`;
  }
  return `{${(resource.set?.item ?? []).join(', ')}}`;
}

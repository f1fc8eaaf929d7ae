/**
 * The offer operations on resources: what each one needs, what it turns it into, and Mesos' rules
 * for refusing it. Pure; the ACCEPT engine decides where the resources come from, the agent makes
 * it real.
 */

import type { OfferOperation, Resource } from '../../shared/mesos/messages.ts';
import {
  formatResource,
  isExclusive,
  isVolume,
  normalize,
  type Resources,
  sameReservations,
  scalarOf,
} from './resources.ts';

export type Conversion = { readonly consumed: Resource[]; readonly converted: Resource[] };

export type Checked =
  | { readonly ok: true; readonly conversion: Conversion }
  | { readonly ok: false; readonly message: string };

export type OperationContext = {
  /** Undefined: nothing about principals is checked. */
  readonly principal: string | undefined;
  /** Roles of the framework; undefined for the operator API. */
  readonly roles: readonly string[] | undefined;
  /** Everything that the agent has, without allocation. */
  readonly total: Resources;
  /** What tasks and executors use there, without allocation. */
  readonly used: Resources;
};

function refuse(message: string): Checked {
  return { ok: false, message };
}

function topOf(resource: Resource): NonNullable<Resource['reservations']>[number] | undefined {
  return resource.reservations?.at(-1);
}

/** `child` is below `parent` in the tree of roles. */
export function isStrictSubrole(child: string, parent: string): boolean {
  return child.startsWith(`${parent}/`);
}

/**
 * Checks one operation and says what it would do. `resources` must carry their allocation already.
 */
export function checkOperation(operation: OfferOperation, context: OperationContext): Checked {
  switch (operation.type) {
    case 'RESERVE':
      return checkReserve(list(operation.reserve?.resources), context);
    case 'UNRESERVE':
      return checkUnreserve(list(operation.unreserve?.resources));
    case 'CREATE':
      return checkCreate(list(operation.create?.volumes), context);
    case 'DESTROY':
      return checkDestroy(list(operation.destroy?.volumes), context);
    case 'GROW_VOLUME':
      return checkGrow(operation, context);
    case 'SHRINK_VOLUME':
      return checkShrink(operation, context);
    default:
      return refuse(`Unsupported operation ${operation.type ?? 'UNKNOWN'}`);
  }
}

function list(resources: Resources | undefined): Resource[] {
  return (resources ?? []).map(normalize);
}

function checkReserve(resources: Resource[], context: OperationContext): Checked {
  if (resources.length === 0) return refuse('Invalid resources: No resources specified');
  for (const resource of resources) {
    const message = findReserveError(resource, context);
    if (message !== undefined) return refuse(message);
  }
  const consumed = resources.map(popReservation);
  return { ok: true, conversion: { consumed, converted: resources } };
}

function findReserveError(resource: Resource, context: OperationContext): string | undefined {
  const top = topOf(resource);
  if (top === undefined || top.type !== 'DYNAMIC') {
    return `Resource ${formatResource(resource)} is not dynamically reserved`;
  }
  if (isVolume(resource)) {
    return `A persistent volume ${formatResource(resource)} must already be reserved`;
  }
  const role = top.role ?? '*';
  if (role === '*') return "Invalid resources: Invalid reservation: role '*' cannot be reserved";
  const allocated = resource.allocation_info?.role;
  if (allocated !== undefined && allocated !== role && !isStrictSubrole(allocated, role)) {
    return (
      `A reserve operation was attempted for a resource with role '${role}', ` +
      `but the resource was allocated to role '${allocated}'`
    );
  }
  if (context.roles !== undefined && !context.roles.includes(allocated ?? role)) {
    return (
      `A reserve operation was attempted for a resource with role '${role}', ` +
      'but the framework can only reserve resources with roles ' +
      `'${context.roles.join(', ')}'`
    );
  }
  const below = resource.reservations?.at(-2);
  if (below !== undefined && !isStrictSubrole(role, below.role ?? '*')) {
    return `Invalid resources: Invalid refined reservation: role '${role}' is not a refinement of '${below.role}'`;
  }
  if (context.principal === undefined) return undefined;
  if (top.principal === undefined) {
    return (
      `A reserve operation was attempted by principal '${context.principal}', ` +
      'but there is a reserved resource in the request with no principal set'
    );
  }
  if (top.principal !== context.principal) {
    return (
      `A reserve operation was attempted by authenticated principal '${context.principal}', ` +
      `which does not match a reserved resource in the request with principal '${top.principal}'`
    );
  }
  return undefined;
}

function popReservation(resource: Resource): Resource {
  const reservations = (resource.reservations ?? []).slice(0, -1);
  const { reservations: _, ...rest } = resource;
  return reservations.length === 0 ? rest : { ...rest, reservations };
}

function checkUnreserve(resources: Resource[]): Checked {
  if (resources.length === 0) return refuse('Invalid resources: No resources specified');
  for (const resource of resources) {
    if (topOf(resource)?.type !== 'DYNAMIC') {
      return refuse(`Resource ${formatResource(resource)} is not dynamically reserved`);
    }
    if (isVolume(resource)) {
      return refuse(
        `A dynamically reserved persistent volume ${formatResource(resource)} cannot be unreserved ` +
          'directly. Please destroy the persistent volume first then unreserve the resource',
      );
    }
  }
  return {
    ok: true,
    conversion: { consumed: resources, converted: resources.map(popReservation) },
  };
}

function checkCreate(volumes: Resource[], context: OperationContext): Checked {
  if (volumes.length === 0) return refuse('Invalid resources: No resources specified');
  const ids = new Set(context.total.filter(isVolume).map((volume) => persistenceKey(volume)));
  for (const volume of volumes) {
    const message = findCreateError(volume, ids, context);
    if (message !== undefined) return refuse(message);
    ids.add(persistenceKey(volume));
  }
  return { ok: true, conversion: { consumed: volumes.map(withoutVolume), converted: volumes } };
}

function persistenceKey(volume: Resource): string {
  return JSON.stringify([topOf(volume)?.role ?? '*', volume.disk?.persistence?.id]);
}

const ID_BYTES_MAX = 255;

/** Undefined when `id` may be a task, executor, framework or persistence id. */
export function findIdError(id: string): string | undefined {
  if (id === '') return 'ID must not be empty';
  if (Buffer.byteLength(id) > ID_BYTES_MAX) {
    return `ID must not be greater than ${ID_BYTES_MAX} characters`;
  }
  if (id === '.' || id === '..') return `'${id}' is disallowed`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[/\\\u0000-\u001f\u007f]/.test(id)) return `'${id}' contains invalid characters`;
  return undefined;
}

function findCreateError(
  volume: Resource,
  ids: ReadonlySet<string>,
  context: OperationContext,
): string | undefined {
  const { persistence, volume: mount, source } = volume.disk ?? {};
  if (persistence === undefined) return "Invalid DiskInfo: 'persistence' is not set";
  if (mount === undefined) {
    return "Invalid resources: Invalid DiskInfo: Expecting 'volume' to be set for persistent volume";
  }
  if (mount.mode === 'RO') {
    return 'Invalid resources: Invalid DiskInfo: Read-only persistent volume not supported';
  }
  if (mount.host_path !== undefined) {
    return "Invalid resources: Invalid DiskInfo: Expecting 'host_path' to be unset for persistent volume";
  }
  const idError = findIdError(persistence.id);
  if (idError !== undefined) return `Invalid resources: Invalid DiskInfo: ${idError}`;
  if (topOf(volume) === undefined) {
    return 'Invalid resources: Invalid DiskInfo: Persistent volumes cannot be created from unreserved resources';
  }
  if (source !== undefined && source.type !== 'PATH' && source.type !== 'MOUNT') {
    return `Invalid DiskInfo: Cannot create persistent volumes on ${source.type} disks`;
  }
  if (ids.has(persistenceKey(volume))) return `Persistence ID '${persistence.id}' is not unique`;
  return findCreatePrincipalError(persistence.principal, context.principal);
}

function findCreatePrincipalError(
  given: string | undefined,
  expected: string | undefined,
): string | undefined {
  if (expected === undefined || given === expected) return undefined;
  if (given === undefined) {
    return (
      `Create volume operation attempted by principal '${expected}', ` +
      "but there is a volume in the operation with no principal set in 'disk.persistence'"
    );
  }
  return (
    `Create volume operation attempted by authenticated principal '${expected}', which does not ` +
    `match a volume in the operation with principal '${given}' set in 'disk.persistence'`
  );
}

/** The disk space under a volume. */
function withoutVolume(volume: Resource): Resource {
  const { disk, ...rest } = volume;
  return disk?.source === undefined ? rest : { ...rest, disk: { source: disk.source } };
}

function checkDestroy(volumes: Resource[], context: OperationContext): Checked {
  if (volumes.length === 0) return refuse('Invalid resources: No resources specified');
  for (const volume of volumes) {
    if (!isVolume(volume)) return refuse("Invalid DiskInfo: 'persistence' is not set");
    const known = context.total.find((one) => persistenceKey(one) === persistenceKey(volume));
    if (known === undefined || !isVolume(known)) return refuse('Persistent volumes not found');
    if (isInUse(volume, context)) return refuse('Persistent volumes in use');
  }
  return { ok: true, conversion: { consumed: volumes, converted: volumes.map(withoutVolume) } };
}

function isInUse(volume: Resource, context: OperationContext): boolean {
  const key = persistenceKey(volume);
  return context.used.some((one) => isVolume(one) && persistenceKey(one) === key);
}

function checkGrow(operation: OfferOperation, context: OperationContext): Checked {
  const body = operation.grow_volume;
  if (body === undefined) return refuse("Expecting 'grow_volume' to be present");
  const volume = normalize(body.volume);
  const addition = normalize(body.addition);
  if (!isVolume(volume)) return refuse("'GrowVolume.volume' is not a persistent volume");
  if (scalarOf(addition) <= 0)
    return refuse("The size of 'GrowVolume.addition' must be greater than zero");
  const space = withoutVolume(volume);
  const isSameDisk = JSON.stringify(space.disk ?? null) === JSON.stringify(addition.disk ?? null);
  if (!isSameDisk || !sameReservations(volume, addition) || isExclusive(addition)) {
    return refuse(
      "Incompatible resources in the 'GrowVolume.volume' and 'GrowVolume.addition' fields",
    );
  }
  if (isInUse(volume, context)) return refuse('Persistent volumes in use');
  const grown = {
    ...volume,
    scalar: { value: roundScalar(scalarOf(volume) + scalarOf(addition)) },
  };
  return { ok: true, conversion: { consumed: [volume, addition], converted: [grown] } };
}

function checkShrink(operation: OfferOperation, context: OperationContext): Checked {
  const body = operation.shrink_volume;
  if (body === undefined) return refuse("Expecting 'shrink_volume' to be present");
  const volume = normalize(body.volume);
  const amount = body.subtract.value;
  if (!isVolume(volume)) return refuse("'ShrinkVolume.volume' is not a persistent volume");
  if (volume.disk?.source?.type === 'MOUNT') {
    return refuse("Cannot shrink a persistent volume on a 'MOUNT' disk");
  }
  if (amount <= 0) return refuse("Value of 'ShrinkVolume.subtract' must be greater than zero");
  if (amount >= scalarOf(volume)) {
    return refuse("Value of 'ShrinkVolume.subtract' must be smaller than the size of the volume");
  }
  if (isInUse(volume, context)) return refuse('Persistent volumes in use');
  const left = { ...volume, scalar: { value: roundScalar(scalarOf(volume) - amount) } };
  const freed = { ...withoutVolume(volume), scalar: { value: amount } };
  return { ok: true, conversion: { consumed: [volume], converted: [left, freed] } };
}

function roundScalar(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** Results of these can be used by later operations of the same ACCEPT. */
export function isSpeculative(operation: OfferOperation): boolean {
  return (
    operation.type === 'RESERVE' ||
    operation.type === 'UNRESERVE' ||
    operation.type === 'CREATE' ||
    operation.type === 'DESTROY'
  );
}

/** The operation with `allocation_info` filled in wherever it is missing, as the master does. */
export function withAllocation(operation: OfferOperation, role: string): OfferOperation {
  const fill = (resource: Resource): Resource => ({
    ...resource,
    allocation_info: resource.allocation_info ?? { role },
  });
  const fillAll = (resources: Resources | undefined) => (resources ?? []).map(fill);
  switch (operation.type) {
    case 'RESERVE':
      return { ...operation, reserve: { resources: fillAll(operation.reserve?.resources) } };
    case 'UNRESERVE':
      return { ...operation, unreserve: { resources: fillAll(operation.unreserve?.resources) } };
    case 'CREATE':
      return { ...operation, create: { volumes: fillAll(operation.create?.volumes) } };
    case 'DESTROY':
      return { ...operation, destroy: { volumes: fillAll(operation.destroy?.volumes) } };
    case 'GROW_VOLUME': {
      const body = operation.grow_volume;
      if (body === undefined) return operation;
      const filled = { volume: fill(body.volume), addition: fill(body.addition) };
      return { ...operation, grow_volume: filled };
    }
    case 'SHRINK_VOLUME': {
      const body = operation.shrink_volume;
      if (body === undefined) return operation;
      return { ...operation, shrink_volume: { ...body, volume: fill(body.volume) } };
    }
    default:
      return operation;
  }
}

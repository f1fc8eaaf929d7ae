/**
 * Builds the offer operations that the stand-in's tests send: reserved resources, volumes,
 * launches.
 */

import type {
  ExecutorInfo,
  Offer,
  OfferOperation,
  Resource,
  TaskInfo,
} from '../../../shared/mesos/messages.ts';

export const RESERVATION = {
  type: 'DYNAMIC',
  role: 'cistern',
  principal: 'cistern',
  labels: {
    labels: [
      { key: 'cluster', value: 'c1' },
      { key: 'node', value: 'n1' },
    ],
  },
} as const;

export function scalar(name: string, value: number): Resource {
  return { name, type: 'SCALAR', scalar: { value } };
}

/** Space on the disk of the given kind that the offer has. */
export function disk(offer: Offer, kind: 'MOUNT' | 'PATH' | 'ROOT', sizeMb: number): Resource {
  const found = (offer.resources ?? []).find(
    (one) => one.name === 'disk' && (one.disk?.source?.type ?? 'ROOT') === kind,
  );
  if (found === undefined) throw new Error(`The offer has no ${kind} disk`);
  const { reservations: _, allocation_info: __, ...rest } = found;
  const source = rest.disk?.source;
  return {
    ...rest,
    scalar: { value: sizeMb },
    ...(source === undefined ? {} : { disk: { source } }),
  };
}

export function reserved(resource: Resource): Resource {
  return { ...resource, reservations: [RESERVATION] };
}

export function volume(space: Resource, id: string, containerPath: string): Resource {
  return {
    ...reserved(space),
    disk: {
      ...space.disk,
      persistence: { id, principal: 'cistern' },
      volume: { mode: 'RW', container_path: containerPath },
    },
  };
}

export function reserve(id: string | undefined, ...resources: Resource[]): OfferOperation {
  return { type: 'RESERVE', id: idOf(id), reserve: { resources: resources.map(reserved) } };
}

export function unreserve(id: string | undefined, ...resources: Resource[]): OfferOperation {
  return { type: 'UNRESERVE', id: idOf(id), unreserve: { resources: resources.map(reserved) } };
}

export function create(id: string | undefined, ...volumes: Resource[]): OfferOperation {
  return { type: 'CREATE', id: idOf(id), create: { volumes } };
}

export function destroy(id: string | undefined, ...volumes: Resource[]): OfferOperation {
  return { type: 'DESTROY', id: idOf(id), destroy: { volumes } };
}

function idOf(id: string | undefined): { value: string } | undefined {
  return id === undefined ? undefined : { value: id };
}

/** The tiny executor beside the tests (their source: it is no TypeScript). */
export const EXECUTOR_FILE = `${process.cwd()}/test/integration/mesos/tiny-executor.mjs`;

export function executor(id: string, more: Partial<ExecutorInfo> = {}): ExecutorInfo {
  return {
    type: 'CUSTOM',
    executor_id: { value: id },
    name: 'tiny',
    resources: [scalar('cpus', 0.1), scalar('mem', 32)],
    command: {
      value: './tiny-executor.mjs',
      shell: true,
      uris: [{ value: EXECUTOR_FILE, executable: true, extract: false }],
    },
    ...more,
  };
}

export function task(
  offer: Offer,
  id: string,
  info: ExecutorInfo,
  ...volumes: Resource[]
): TaskInfo {
  return {
    name: 'tiny',
    task_id: { value: id },
    agent_id: offer.agent_id,
    resources: [scalar('cpus', 0.1), scalar('mem', 32), ...volumes],
    executor: info,
  };
}

export function launch(...tasks: TaskInfo[]): OfferOperation {
  return { type: 'LAUNCH', launch: { task_infos: tasks } };
}

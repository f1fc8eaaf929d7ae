/**
 * An agent's resources as a master accounts for them, in the smallest form: offers what is not in use,
 * applies the operations of an ACCEPT to the running sum, and refuses what does not fit it. It compares
 * resources structurally, as Mesos does, so a resource that was not echoed whole is refused.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Resource, TaskInfo } from '../../../shared/mesos/messages.ts';
import type { Offer, OfferOperation } from '../../../shared/mesos/scheduler-messages.ts';

const ROLE = 'cistern';

export class ModelAgent {
  readonly hostname: string;
  agentId: string;
  attributes: Readonly<Record<string, string>> = {};
  unavailability: Offer['unavailability'];
  domain: Offer['domain'];
  free: Resource[];
  /** Resources of running tasks, and of executors under their executor id. */
  readonly tasks = new Map<string, TaskInfo>();
  readonly executors = new Map<string, readonly Resource[]>();
  #offers = 0;

  constructor(hostname: string, resources: readonly Resource[]) {
    this.hostname = hostname;
    this.agentId = `agent-${hostname}-S0`;
    this.free = [...resources];
  }

  offer(): Offer {
    this.#offers += 1;
    return {
      id: { value: `${this.hostname}-O${this.#offers}` },
      framework_id: { value: 'fw-1' },
      agent_id: { value: this.agentId },
      hostname: this.hostname,
      resources: this.free,
      attributes: Object.entries(this.attributes).map(([name, value]) => ({
        name,
        type: 'TEXT' as const,
        text: { value },
      })),
      executor_ids: [...this.executors.keys()].map((value) => ({ value })),
      unavailability: this.unavailability,
      domain: this.domain,
      allocation_info: { role: ROLE },
    };
  }

  /** Throws for an operation that a master would refuse. */
  apply(operations: readonly OfferOperation[]): void {
    for (const operation of operations) {
      for (const resource of operation.destroy?.volumes ?? []) {
        this.#take(resource);
        this.#add(withoutVolume(resource));
      }
      for (const resource of operation.unreserve?.resources ?? []) {
        this.#take(resource);
        this.#add({ ...resource, reservations: (resource.reservations ?? []).slice(0, -1) });
      }
      for (const resource of operation.reserve?.resources ?? []) {
        this.#take({ ...resource, reservations: (resource.reservations ?? []).slice(0, -1) });
        this.#add(resource);
      }
      for (const volume of operation.create?.volumes ?? []) {
        this.#take(withoutVolume(volume));
        this.#add(volume);
      }
      const grow = operation.grow_volume;
      if (grow !== undefined) {
        if (grow.volume.disk?.source?.type === 'MOUNT') throw new Error('a MOUNT volume grows');
        this.#take(grow.volume);
        this.#take(grow.addition);
        const value = (milli(grow.volume) + milli(grow.addition)) / 1000;
        this.#add({ ...grow.volume, scalar: { value } });
      }
      for (const task of operation.launch?.task_infos ?? []) this.#launch(task);
    }
  }

  /** Offered or in use. */
  all(): readonly Resource[] {
    const used = [...this.tasks.values()].flatMap((task) => task.resources ?? []);
    return [...this.free, ...used];
  }

  /** The agent has more of something than before. */
  enlarge(addition: Resource): void {
    this.#add(addition);
  }

  /** The task's resources come back; its executor goes on. */
  endTask(taskId: string): void {
    for (const resource of this.tasks.get(taskId)?.resources ?? []) this.#add(resource);
    this.tasks.delete(taskId);
  }

  endExecutor(executorId: string): string[] {
    for (const resource of this.executors.get(executorId) ?? []) this.#add(resource);
    this.executors.delete(executorId);
    const ended = [...this.tasks.values()].filter(
      (task) => task.executor?.executor_id.value === executorId,
    );
    for (const task of ended) this.endTask(task.task_id.value);
    return ended.map((task) => task.task_id.value);
  }

  #launch(task: TaskInfo): void {
    const executor = task.executor;
    const id = executor?.executor_id.value ?? '';
    if (task.agent_id.value !== this.agentId) throw new Error('task for another agent');
    if (!this.executors.has(id)) {
      for (const resource of executor?.resources ?? []) this.#take(resource);
      this.executors.set(id, executor?.resources ?? []);
    }
    for (const resource of task.resources ?? []) this.#take(resource);
    this.tasks.set(task.task_id.value, task);
  }

  #take(wanted: Resource): void {
    const index = this.free.findIndex((resource) => isSameKind(resource, wanted));
    const found = this.free[index];
    const left = milli(found) - milli(wanted);
    if (found === undefined || left < 0) {
      throw new Error(
        `not enough of ${JSON.stringify(wanted)}; offered ${JSON.stringify(this.free)}`,
      );
    }
    // A MOUNT disk is all or nothing.
    if (left > 0 && wanted.disk?.source?.type === 'MOUNT') throw new Error('part of a MOUNT disk');
    if (left === 0) this.free.splice(index, 1);
    else this.free[index] = { ...found, scalar: { value: left / 1000 } };
  }

  #add(resource: Resource): void {
    const index = this.free.findIndex((other) => isSameKind(other, resource));
    const found = this.free[index];
    if (found === undefined || resource.disk?.persistence !== undefined) this.free.push(resource);
    else {
      const sum = (milli(found) + milli(resource)) / 1000;
      this.free[index] = { ...found, scalar: { value: sum } };
    }
  }
}

const milli = (resource: Resource | undefined): number =>
  Math.round((resource?.scalar?.value ?? 0) * 1000);

function withoutVolume(resource: Resource): Resource {
  const { disk, ...bare } = resource;
  return disk?.source === undefined ? bare : { ...bare, disk: { source: disk.source } };
}

function isSameKind(a: Resource, b: Resource): boolean {
  const kind = ({ scalar: _amount, reservations, ...rest }: Resource): unknown => ({
    ...rest,
    reservations: reservations ?? [],
  });
  return isDeepStrictEqual(kind(a), kind(b));
}

export function scalar(name: string, value: number, more: Partial<Resource> = {}): Resource {
  return { name, type: 'SCALAR', scalar: { value }, allocation_info: { role: ROLE }, ...more };
}

export const mount = (root: string, value: number): Resource =>
  scalar('disk', value, { disk: { source: { type: 'MOUNT', mount: { root } } } });

export const path = (root: string, value: number): Resource =>
  scalar('disk', value, { disk: { source: { type: 'PATH', path: { root } } } });

/** 4 cpus, 2 GiB, two MOUNT disks, one PATH disk and a root disk. */
export function usualResources(): Resource[] {
  return [
    scalar('cpus', 4),
    scalar('mem', 2048),
    scalar('disk', 1024),
    path('/mnt/shared', 1000.5),
    mount('/mnt/a', 250),
    mount('/mnt/b', 300),
  ];
}

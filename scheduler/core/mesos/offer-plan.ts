/**
 * The operations with which one agent's offers are answered. Pieces are collected in any order and come
 * out in the order in which Mesos can apply them to the running sum of one ACCEPT:
 *
 *   DESTROY → UNRESERVE → RESERVE → CREATE → GROW_VOLUME → LAUNCH
 *
 * Every step is small enough to be repeated: what was reserved or created before is used as it is, only
 * what is missing is added. So a claim that was cut off anywhere goes on from there.
 */
import { present } from '../../../shared/base/assert.ts';
import { formatDisk, formatNode } from '../../../shared/base/ids.ts';
import type {
  ContainerInfo,
  ExecutorInfo,
  Resource,
  TaskInfo,
} from '../../../shared/mesos/messages.ts';
import type { OfferOperation } from '../../../shared/mesos/scheduler-messages.ts';
import { encodeTaskData } from '../../../shared/model/task-data.ts';
import type { ExecutorArtefact } from '../contract.ts';
import type { DiskRecord, NodeRecord } from '../records.ts';
import type { State } from '../state.ts';
import {
  type Entry,
  type Intent,
  isOn,
  isOurs,
  labelOf,
  type OfferLedger,
  ourReservation,
  reserve,
  type ShareBase,
  toMilli,
} from './offer-resources.ts';

/** A store is closed (flushed, marked clean) within this; then the agent may kill. */
const KILL_GRACE_MS = 10_000;
/** The executor closes all its disks within this when it is shut down. */
const SHUTDOWN_GRACE_MS = 20_000;

export interface OfferPlan {
  readonly destroy: Resource[];
  readonly unreserve: Resource[];
  /** One list per reservation: resources of one call are reserved with the same labels. */
  readonly reserve: Resource[][];
  readonly create: Resource[];
  /** Of volumes that nothing uses: what comes of it is offered later. */
  readonly grow: { readonly volume: Resource; readonly addition: Resource }[];
  readonly launch: TaskInfo[];
}

export function createPlan(): OfferPlan {
  return { destroy: [], unreserve: [], reserve: [], create: [], grow: [], launch: [] };
}

export function isEmpty(plan: OfferPlan): boolean {
  return operationsOf(plan).length === 0;
}

export function operationsOf(plan: OfferPlan): OfferOperation[] {
  const operations: OfferOperation[] = [];
  if (plan.destroy.length > 0) {
    operations.push({ type: 'DESTROY', destroy: { volumes: plan.destroy } });
  }
  if (plan.unreserve.length > 0) {
    operations.push({ type: 'UNRESERVE', unreserve: { resources: plan.unreserve } });
  }
  for (const resources of plan.reserve) {
    operations.push({ type: 'RESERVE', reserve: { resources } });
  }
  if (plan.create.length > 0) operations.push({ type: 'CREATE', create: { volumes: plan.create } });
  for (const grow_volume of plan.grow) operations.push({ type: 'GROW_VOLUME', grow_volume });
  if (plan.launch.length > 0) {
    operations.push({ type: 'LAUNCH', launch: { task_infos: plan.launch } });
  }
  return operations;
}

/** Amounts of cpus and memory (MiB) in thousandths. */
export interface Share {
  readonly cpus: number;
  readonly mem: number;
}

export function executorShare(artefact: ExecutorArtefact): Share {
  return { cpus: toMilli(artefact.cpus), mem: toMilli(artefact.memoryMb) };
}

export function taskShare(artefact: ExecutorArtefact): Share {
  return { cpus: toMilli(artefact.taskCpus), mem: toMilli(artefact.taskMemoryMb) };
}

/** Whether what is reserved for the purpose, and what is free on the base beside it, is enough. */
export function canTake(
  ledger: OfferLedger,
  share: Share,
  base: ShareBase,
  matches: (entry: Entry) => boolean,
): boolean {
  const isFreeHere = isOn(base);
  const has = (name: 'cpus' | 'mem'): boolean =>
    ledger.available(name, (entry) => matches(entry) || isFreeHere(entry)) >= share[name];
  return has('cpus') && has('mem');
}

/**
 * Takes cpus and memory for one purpose: what is reserved for it, then free ones, which are reserved.
 * Returns the resources as they are after the reservation, whole per name.
 */
export function takeShare(
  state: State,
  ledger: OfferLedger,
  plan: OfferPlan,
  share: Share,
  purpose: {
    readonly node: NodeRecord;
    readonly intent: Intent;
    readonly disk: DiskRecord | null;
  },
): Resource[] {
  const { node, intent, disk } = purpose;
  const ours = isOurs(node.id, intent, disk === null ? null : labelOf(disk));
  const reservation = ourReservation(state, node.id, intent, disk === null ? null : labelOf(disk));
  const isFreeHere = isOn(node.shareBase ?? []);
  const added: Resource[] = [];
  for (const name of ['cpus', 'mem'] as const) {
    const held = ledger.take(name, share[name], ours);
    const missing = share[name] - sumMilli(held);
    if (missing > 0) {
      for (const free of ledger.take(name, missing, isFreeHere)) {
        added.push(reserve(free, reservation));
      }
    }
  }
  if (added.length > 0) plan.reserve.push(added);
  return shareResources(state, node, intent, disk, share);
}

function sumMilli(resources: readonly Resource[]): number {
  return resources.reduce((sum, resource) => sum + toMilli(resource.scalar?.value ?? 0), 0);
}

/** The reserved resources of one purpose as they stand in task and executor: the same every time. */
export function shareResources(
  state: State,
  node: NodeRecord,
  intent: Intent,
  disk: DiskRecord | null,
  share: Share,
): Resource[] {
  const reservations = [
    ...(node.shareBase ?? []),
    ourReservation(state, node.id, intent, disk === null ? null : labelOf(disk)),
  ];
  return (['cpus', 'mem'] as const).map((name) => ({
    name,
    type: 'SCALAR',
    scalar: { value: share[name] / 1000 },
    allocation_info: { role: state.options.role },
    reservations,
  }));
}

/** Equal for one executor id for ever: nothing in it depends on where or when the scheduler runs. */
export function executorInfo(state: State, node: NodeRecord): ExecutorInfo {
  const artefact = node.artefact ?? state.options.executor;
  const frameworkId = present(state.facts.cluster.frameworkId, 'framework id');
  return {
    type: 'CUSTOM',
    executor_id: { value: node.executorId },
    framework_id: { value: frameworkId },
    name: `${state.options.clusterName} ${formatNode(node.id)}`,
    command: {
      shell: true,
      value: artefact.command,
      uris: artefact.uris.map(({ value }) => ({
        value,
        executable: false,
        // The command verifies it first, and unpacks it then.
        extract: false,
        cache: true,
      })),
      environment: {
        variables: Object.keys(artefact.environment)
          .sort()
          .map((name) => ({ name, type: 'VALUE', value: artefact.environment[name] ?? '' })),
      },
    },
    ...(artefact.image === undefined ? {} : { container: imageContainer(artefact.image) }),
    resources: shareResources(state, node, 'executor', null, executorShare(artefact)),
    shutdown_grace_period: { nanoseconds: SHUTDOWN_GRACE_MS * 1_000_000 },
  };
}

/** Of Mesos' own containerizer, in the host's network: executors and gateways listen on its ports. */
function imageContainer(name: string): ContainerInfo {
  return { type: 'MESOS', mesos: { image: { type: 'DOCKER', docker: { name } } } };
}

export function taskInfo(
  state: State,
  node: NodeRecord,
  disk: DiskRecord,
  resources: readonly Resource[],
): TaskInfo {
  return {
    name: `${state.options.clusterName} ${formatDisk(disk.id)}`,
    task_id: { value: present(disk.taskId, 'task id') },
    agent_id: { value: node.agentId },
    resources,
    executor: executorInfo(state, node),
    kill_policy: { grace_period: { nanoseconds: KILL_GRACE_MS * 1_000_000 } },
    data: Buffer.from(
      encodeTaskData({
        format: 1,
        clusterId: state.facts.cluster.clusterId,
        node: node.id,
        disk: disk.id,
        uuid: disk.uuid,
        containerPath: disk.containerPath,
        capacityBytes: disk.sizeBytes,
        controlAddress: state.options.controlAddress,
        term: state.term,
      }),
    ),
  };
}

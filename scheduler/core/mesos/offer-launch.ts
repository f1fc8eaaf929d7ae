/**
 * Brings one disk up from whatever an offer shows of it:
 *
 *   free disk ── RESERVE ──▶ reserved ── CREATE ──▶ volume ── LAUNCH ──▶ task
 *
 * A new claim goes all the way in one ACCEPT; one that was cut off goes on from where it is; a disk whose
 * task ended is launched again on its own volume. Only a disk in phase `claiming` is ever reserved or
 * created anew: for any other a missing volume means that its data is not there.
 */
import type { DiskSource, Resource } from '../../../shared/mesos/messages.ts';
import type { Offer } from '../../../shared/mesos/scheduler-messages.ts';
import { isGrowing } from '../capacity/growth.ts';
import { observedNode } from '../nodes/node-life.ts';
import { nextArtefact } from '../planned/executor-version.ts';
import type { DiskPhase, DiskRecord, NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { observedHost, observedTask, type TaskLife } from './mesos-state.ts';
import { claimMilli, executorIdOf } from './offer-claims.ts';
import { growVolume } from './offer-growth.ts';
import {
  canTake,
  executorShare,
  type OfferPlan,
  takeShare,
  taskInfo,
  taskShare,
} from './offer-plan.ts';
import {
  type Entry,
  isFree,
  isOurs,
  labelOf,
  type OfferLedger,
  ourReservation,
  placeOf,
  reserve,
} from './offer-resources.ts';
import { isOfCurrentRun, noteLaunch, taskIdOf } from './tasks.ts';

/** Work stops on a node whose maintenance begins within this; a launch would only be killed again. */
const WINDOW_AHEAD_MS = 120_000;
/** An offer may have been made just before our last call was handled: within this, only ask. */
const IN_FLIGHT_MS = 5_000;

const LAUNCHABLE: ReadonlySet<DiskPhase> = new Set(['claiming', 'launched', 'serving', 'down']);
const IN_FLIGHT: ReadonlySet<TaskLife> = new Set(['sent', 'starting', 'alive', 'stopping']);

export interface Site {
  readonly node: NodeRecord;
  readonly offer: Offer;
  readonly ledger: OfferLedger;
  readonly plan: OfferPlan;
}

/** none: nothing to do here. wait: offer it again soon. lack: cpus or memory are missing. */
export type LaunchOutcome = 'none' | 'wait' | 'lack' | 'launched';

export function isInWindow(node: NodeRecord, now: Now, aheadMs: number): boolean {
  if (node.unavailableFromMs === null) return false;
  if (node.unavailableUntilMs !== null && node.unavailableUntilMs <= now.wallMs) return false;
  return node.unavailableFromMs <= now.wallMs + aheadMs;
}

/**
 * Whether the node's executor is there: then its share of cpus and memory is in use. doubt: we launched
 * something with it, but the offer does not list it; one of the two is about to be corrected.
 */
export type ExecutorPresence = 'there' | 'doubt' | 'none';

export function executorPresence(
  state: State,
  site: { readonly node: NodeRecord; readonly offer: Offer; readonly plan: OfferPlan },
): ExecutorPresence {
  const { offer, plan } = site;
  // A launch of this very step may have started the executor anew.
  const node = state.facts.nodes.get(site.node.id);
  const isOurs = (id: string | undefined): boolean => id === node.executorId;
  if (plan.launch.some(({ executor }) => isOurs(executor?.executor_id.value))) return 'there';
  // Mesos' word on its death is newer than any offer that still lists it.
  if (observedNode(state, node.id).executor === 'dead') return 'none';
  if (offer.executor_ids?.some(({ value }) => isOurs(value)) === true) return 'there';
  for (const id of state.facts.diskIndex.ofNode(node.id)) {
    const disk = state.facts.disks.get(id);
    if (!isOfCurrentRun(node, disk)) continue;
    const task = observedTask(state.mesos, disk);
    if (task !== null && IN_FLIGHT.has(task.life)) return 'doubt';
  }
  return 'none';
}

export function bringUp(state: State, site: Site, disk: DiskRecord, now: Now): LaunchOutcome {
  const { node, ledger } = site;
  if (!LAUNCHABLE.has(disk.phase) || node.admin === 'gone') return 'none';
  const found = findDisk(ledger, node, disk);
  if (found === null) return 'none';
  const task = observedTask(state.mesos, disk);
  // Of the same agent, Mesos is asked first: it answers that the task is gone, or where it is.
  const isReplaced = task?.life === 'away' && task.isOfOldAgent && found.kind === 'volume';
  const mayLaunch = task === null || task.life === 'dead' || isReplaced;
  if (!mayLaunch) {
    askWhy(state, disk, now);
    return 'wait';
  }
  if (isGrowing(disk)) {
    const growth = growVolume(state, site, disk, now);
    if (growth === 'growing') return 'wait';
    return bringUp(state, site, state.facts.disks.get(disk.id), now);
  }
  if (observedHost(state.mesos, node.id).retryAtMs > now.ms) return 'wait';
  if (isInWindow(node, now, WINDOW_AHEAD_MS)) return 'wait';
  return launch(state, site, disk, found, now);
}

/** A disk's resources are offered, so the master sees no task on them, though we believe in one: ask. */
export function askWhy(state: State, disk: DiskRecord, now: Now): void {
  const task = observedTask(state.mesos, disk);
  // The update may be on its way, or the offer older than the launch.
  if (task !== null && now.ms - task.sinceMs >= IN_FLIGHT_MS) task.askAtMs ??= now.ms;
}

type FoundDisk =
  | { readonly kind: 'volume'; readonly entry: Entry }
  | { readonly kind: 'reserved'; readonly entry: Entry }
  | { readonly kind: 'free'; readonly entry: Entry };

function findDisk(ledger: OfferLedger, node: NodeRecord, disk: DiskRecord): FoundDisk | null {
  const mine = isOurs(node.id, 'disk', labelOf(disk));
  const disks = ledger.entries.filter(
    ({ resource, milli }) => resource.name === 'disk' && milli > 0,
  );
  const volume = disks.find(
    (entry) => mine(entry) && entry.resource.disk?.persistence?.id === disk.persistenceId,
  );
  if (volume !== undefined) return { kind: 'volume', entry: volume };
  if (disk.phase !== 'claiming') return null;
  const reserved = disks.find(
    (entry) => mine(entry) && entry.resource.disk?.persistence === undefined,
  );
  if (reserved !== undefined) return { kind: 'reserved', entry: reserved };
  const free = disks.find((entry) => {
    const place = placeOf(entry.resource);
    if (place === null || !isFree(entry)) return false;
    if (place.kind !== disk.kind || place.root !== disk.sourceRoot) return false;
    return entry.milli >= claimMilli(disk, entry);
  });
  return free === undefined ? null : { kind: 'free', entry: free };
}

function launch(
  state: State,
  site: Site,
  disk: DiskRecord,
  found: FoundDisk,
  now: Now,
): LaunchOutcome {
  const { ledger, plan } = site;
  const presence = executorPresence(state, site);
  if (presence === 'doubt') return 'wait';
  const isThere = presence === 'there';
  const known = state.facts.nodes.get(site.node.id);
  const node = isThere ? known : renewExecutor(state, known);
  const artefact = node.artefact ?? state.options.executor;
  const mineToo = isOurs(node.id, 'task', labelOf(disk));
  const shell = isOurs(node.id, 'executor', null);
  const share = taskShare(artefact);
  const all = isThere ? share : addShares(share, executorShare(artefact));
  const base = node.shareBase ?? [];
  if (!canTake(ledger, all, base, (entry) => mineToo(entry) || (!isThere && shell(entry))))
    return 'lack';
  if (!isThere) {
    const purpose = { node, intent: 'executor' as const, disk: null };
    takeShare(state, ledger, plan, executorShare(artefact), purpose);
  }
  const resources = takeShare(state, ledger, plan, share, { node, intent: 'task', disk });
  const volume = takeVolume(state, site, disk, found);
  const taskAttempt = disk.taskAttempt + 1;
  const taskId = taskIdOf(state, disk.id, taskAttempt);
  const executorRun = (node.executorRun ?? 0) + (isThere ? 0 : 1);
  if (!isThere) state.facts.nodes.update(node.id, { executorRun });
  const record = state.facts.disks.update(disk.id, {
    taskId,
    taskAttempt,
    executorRun,
    phase: disk.phase === 'claiming' ? 'claiming' : 'launched',
    phaseSinceMs: now.wallMs,
    error: '',
  });
  noteLaunch(state, record, { taskId, isNewExecutor: !isThere }, now);
  plan.launch.push(taskInfo(state, node, record, [...resources, volume]));
  return 'launched';
}

function addShares(
  a: { readonly cpus: number; readonly mem: number },
  b: { readonly cpus: number; readonly mem: number },
): { readonly cpus: number; readonly mem: number } {
  return { cpus: a.cpus + b.cpus, mem: a.mem + b.mem };
}

/** No executor of ours runs there: the next one is started in the version that is this node's now. */
function renewExecutor(state: State, node: NodeRecord): NodeRecord {
  const artefact = nextArtefact(state, node);
  const executorId = executorIdOf(node.id, artefact.version);
  const isSame =
    node.executorId === executorId && JSON.stringify(node.artefact) === JSON.stringify(artefact);
  return isSame ? node : state.facts.nodes.update(node.id, { executorId, artefact });
}

/** The disk as the task gets it: the volume, after RESERVE and CREATE where they are still missing. */
function takeVolume(state: State, site: Site, disk: DiskRecord, found: FoundDisk): Resource {
  const { ledger, plan, node } = site;
  const { entry } = found;
  if (found.kind === 'volume') return ledger.takeFrom(entry, entry.milli);
  let reserved: Resource;
  if (found.kind === 'reserved') reserved = ledger.takeFrom(entry, entry.milli);
  else {
    const free = ledger.takeFrom(entry, claimMilli(disk, entry));
    reserved = reserve(free, ourReservation(state, node.id, 'disk', labelOf(disk)));
    plan.reserve.push([reserved]);
  }
  const volume = volumeOn(state, reserved, disk);
  plan.create.push(volume);
  return volume;
}

function volumeOn(state: State, reserved: Resource, disk: DiskRecord): Resource {
  const source: DiskSource | undefined = reserved.disk?.source;
  return {
    ...reserved,
    disk: {
      ...(source === undefined ? {} : { source }),
      persistence: { id: disk.persistenceId, principal: state.options.principal },
      // One path segment: Mesos silently ignores volumes with a slash in their path.
      volume: { mode: 'RW', container_path: disk.containerPath },
    },
  };
}

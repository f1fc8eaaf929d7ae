/** What operators ask for, dispatched to the file that owns it. */
import { unreachable } from '../../shared/base/assert.ts';
import { StorageError } from '../../shared/base/errors.ts';
import { type DiskId, formatJob, formatNode, type JobId } from '../../shared/base/ids.ts';
import { attachVolume, detachVolume } from './attachments.ts';
import { releaseBrake } from './brake.ts';
import type { Command, CommandResult, Effect } from './contract.ts';
import { readmit } from './disks/disk-out.ts';
import { endJob } from './jobs/jobs.ts';
import { cancelScrub, startScrub } from './jobs/scrubs.ts';
import { forgetNode } from './nodes/node-forget.ts';
import { activateDisk, activateNode, drainDisk, drainNode } from './nodes/nodes.ts';
import { decommissionNode } from './planned/decommission.ts';
import { cancelReplacement, replaceDisk } from './planned/disk-replace.ts';
import { isEvacuating } from './planned/maintenance.ts';
import { isUninstalling, uninstall } from './planned/uninstall.ts';
import { commandUpgrade } from './planned/upgrade.ts';
import {
  applyPools,
  cancelApply,
  createPool,
  deletePool,
  pauseApply,
  resumeApply,
  updatePool,
} from './pools/pool-apply.ts';
import type { JobRecord } from './records.ts';
import type { Now, State } from './state.ts';
import { createVolume, deleteVolume, updateVolume } from './volumes.ts';

/** Executes a command; the answer leaves with the commit of its facts, or later (attachments.ts). */
export function onCommand(
  state: State,
  request: { readonly requestId: string; readonly command: Command },
  now: Now,
): Effect[] {
  const { requestId } = request;
  const result = execute(state, requestId, request.command, now);
  return result === null ? [] : [{ kind: 'reply', requestId, result }];
}

function execute(
  state: State,
  requestId: string,
  command: Command,
  now: Now,
): CommandResult | null {
  const isAllowed = command.kind === 'uninstall' || command.kind === 'forget-node';
  if (isUninstalling(state) && !isAllowed) {
    const text = 'The cluster is being uninstalled: nothing else is done any more';
    return failed(new StorageError('conflict', text, { command: command.kind }));
  }
  switch (command.kind) {
    case 'create-volume':
      return createVolume(state, command, now);
    case 'update-volume':
      return updateVolume(state, command, now);
    case 'delete-volume':
      return deleteVolume(state, command, now);
    case 'attach-volume':
      return attachVolume(state, requestId, command, now);
    case 'detach-volume':
      return detachVolume(state, requestId, command, now);
    case 'drain-node':
      return drainNode(state, command.node, now);
    case 'activate-node':
      return activateNode(state, command.node, now);
    case 'forget-node':
      return forgetNode(state, command.node, now);
    case 'decommission-node':
      return decommissionNode(state, command.node, now);
    case 'drain-disk':
      return drainDisk(state, command.disk, now);
    case 'replace-disk':
      return replaceDisk(state, command, now);
    case 'upgrade':
      return commandUpgrade(state, command.action, now);
    case 'uninstall':
      return uninstall(state, command, now);
    case 'activate-disk':
      return activateDisk(state, command.disk, now);
    case 'readmit-disk':
      return readmitDisk(state, command.disk, now);
    case 'release-brake':
      // Asked for twice, or not engaged: what is asked for is the case.
      releaseBrake(state, now);
      return { kind: 'done', id: null };
    case 'start-scrub':
      return startScrub(state, command, now);
    case 'cancel-job':
      return cancelJob(state, command.job, now);
    case 'update-pool':
      return updatePool(state, command, now);
    case 'create-pool':
      return createPool(state, command.pool, now);
    case 'delete-pool':
      return deletePool(state, command.pool, now);
    case 'apply-pools':
      return applyPools(state, command.document, now);
    case 'pause-job':
      return steerJob(state, command.job, pauseApply, now);
    case 'resume-job':
      return steerJob(state, command.job, resumeApply, now);
    default:
      return unreachable(command);
  }
}

/** Back from being out; a failed disk is tried again as by an activation. */
function readmitDisk(state: State, id: DiskId, now: Now): CommandResult {
  const disk = state.facts.disks.find(id);
  const result = activateDisk(state, id, now);
  if (disk !== undefined && result.kind === 'done') {
    readmit(state, state.facts.disks.get(id), 'an operator readmitted it', now);
  }
  return result;
}

/** Only a drain can be called off: the other jobs follow what the cluster needs anyway. */
function cancelJob(state: State, id: JobId, now: Now): CommandResult {
  const job = state.facts.jobs.find(id);
  const name = formatJob(id);
  if (job === undefined) {
    return failed(new StorageError('not-found', `There is no job ${name}`, { job: name }));
  }
  if (job.kind === 'apply' && job.phase === 'paused') return cancelApply(state, job, now);
  if (job.phase !== 'running') {
    const text = `Cannot cancel ${name}: it is ${job.phase}`;
    return failed(new StorageError('conflict', text, { job: name }));
  }
  if (job.kind === 'expand') {
    state.expansion.delete(job.subject);
    endJob(state, job, { phase: 'cancelled' }, now);
    return { kind: 'done', id };
  }
  if (job.kind === 'scrub') return cancelScrub(state, job, now);
  if (job.kind === 'apply') return cancelApply(state, job, now);
  const refusal = whyNotCancelled(state, job);
  if (refusal !== null) {
    const text = `Cannot cancel ${name}: ${refusal}`;
    return failed(new StorageError('conflict', text, { job: name }));
  }
  if (job.kind === 'replace') return cancelReplacement(state, job, now);
  if (job.kind !== 'drain' && job.kind !== 'decommission') {
    const text = `Cannot cancel ${name}: a ${job.kind} restores what the cluster promises; only a drain, an expansion or a scrub can be called off`;
    return failed(new StorageError('conflict', text, { job: name }));
  }
  for (const node of state.facts.nodes.values()) {
    if (`n${node.id}` === job.subject) return activateNode(state, node.id, now);
  }
  for (const disk of state.facts.disks.values()) {
    if (`d${disk.id}` === job.subject) return readmitDisk(state, disk.id, now);
  }
  endJob(state, job, { phase: 'cancelled' }, now);
  return { kind: 'done', id };
}

function steerJob(
  state: State,
  id: JobId,
  steer: (state: State, job: JobRecord, now: Now) => CommandResult,
  now: Now,
): CommandResult {
  const job = state.facts.jobs.find(id);
  if (job !== undefined) return steer(state, job, now);
  const name = formatJob(id);
  return failed(new StorageError('not-found', `There is no job ${name}`, { job: name }));
}

/** Work that somebody else ordered, or that has its own way to be called off. */
function whyNotCancelled(state: State, job: JobRecord): string | null {
  if (job.kind === 'upgrade') return 'an upgrade is paused or rolled back, see "cistern upgrade"';
  if (job.kind === 'uninstall') return 'what is given back has no way back';
  if (job.kind !== 'drain') return null;
  const node = [...state.facts.nodes.values()].find(({ id }) => formatNode(id) === job.subject);
  return node?.admin === 'active' && isEvacuating(node)
    ? 'a maintenance window in Mesos orders it; change the schedule there'
    : null;
}

function failed(error: StorageError): CommandResult {
  return { kind: 'failed', error };
}

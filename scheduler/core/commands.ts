/** What operators ask for, dispatched to the file that owns it; and changes of a pool's policy. */
import { unreachable } from '../../shared/base/assert.ts';
import { invalidField, StorageError } from '../../shared/base/errors.ts';
import { type DiskId, formatJob, type JobId } from '../../shared/base/ids.ts';
import { attachVolume, detachVolume } from './attachments.ts';
import { releaseBrake } from './brake.ts';
import type { Command, CommandResult, Effect } from './contract.ts';
import { readmit } from './disk-out.ts';
import { recordEvent } from './events.ts';
import { endJob } from './jobs.ts';
import { activateDisk, activateNode, drainDisk, drainNode, forgetNode } from './nodes.ts';
import type { PoolRecord } from './records.ts';
import { cancelScrub, startScrub } from './scrubs.ts';
import type { Now, State } from './state.ts';
import { createVolume, deleteVolume, updateVolume } from './volumes.ts';

type UpdatePool = Extract<Command, { kind: 'update-pool' }>;

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
    case 'drain-disk':
      return drainDisk(state, command.disk, now);
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
  if (job.kind !== 'drain') {
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

/** Longest cool-down: a week; a longer one is a switched-off expansion. */
const COOLDOWN_MS_MAX = 7 * 24 * 3600 * 1000;
const COUNT_MAX = 1_000_000;

function updatePool(state: State, command: UpdatePool, now: Now): CommandResult {
  const pool = state.facts.pools.find(command.pool);
  if (pool === undefined) {
    const text = `There is no pool "${command.pool}"`;
    return failed(new StorageError('not-found', text, { pool: command.pool }));
  }
  const next: PoolRecord = { ...pool, ...command.changes };
  const error = checkPool(next);
  if (error !== null) return failed(error);
  state.facts.pools.put(next);
  const names = Object.keys(command.changes).join(', ');
  const message = `Settings of pool "${pool.name}" were changed by an operator: ${names}`;
  recordEvent(state, { severity: 'info', kind: 'pool.changed', message, subject: pool.name }, now);
  return { kind: 'done', id: null };
}

function checkPool(pool: PoolRecord): StorageError | null {
  const { expandAtRatio, fullAtRatio, expandCooldownMs } = pool;
  if (!isWithin(fullAtRatio, 0.01, 0.99))
    return invalidField('fullAtRatio', fullAtRatio, '0.01 to 0.99');
  if (!isWithin(expandAtRatio, 0.01, 0.99)) {
    return invalidField('expandAtRatio', expandAtRatio, '0.01 to 0.99');
  }
  if (expandAtRatio >= fullAtRatio) {
    return invalidField('expandAtRatio', expandAtRatio, `below fullAtRatio, ${fullAtRatio}`);
  }
  if (!isWithin(expandCooldownMs, 0, COOLDOWN_MS_MAX)) {
    return invalidField('expandCooldownMs', expandCooldownMs, `0 to ${COOLDOWN_MS_MAX}`);
  }
  if (typeof pool.isAutoExpand !== 'boolean') {
    return invalidField('isAutoExpand', pool.isAutoExpand, 'true or false');
  }
  for (const field of ['diskCountMax', 'claimPerNode', 'claimNodes'] as const) {
    const value = pool[field];
    if (value !== null && (!Number.isInteger(value) || value < 0 || value > COUNT_MAX)) {
      return invalidField(
        field,
        value,
        `a whole number from 0 to ${COUNT_MAX}, or null for no bound`,
      );
    }
  }
  return null;
}

function isWithin(value: unknown, low: number, high: number): boolean {
  return typeof value === 'number' && value >= low && value <= high;
}

function failed(error: StorageError): CommandResult {
  return { kind: 'failed', error };
}

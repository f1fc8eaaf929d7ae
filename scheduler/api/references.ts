/**
 * Finds the thing that a path or a field names: by its id (`n3`, `d7`, `v5`, `j4`) first, then by the
 * name people know it by. What is not found is refused with the closest names there are.
 */

import { present } from '../../shared/base/assert.ts';
import { invalidField, StorageError } from '../../shared/base/errors.ts';
import type { DiskId, JobId, NodeId, VolumeId } from '../../shared/base/ids.ts';
import { parseDisk, parseJob, parseNode, parseVolume } from '../../shared/base/ids.ts';
import type {
  AttachmentView,
  DiskView,
  JobView,
  NodeView,
  PoolView,
  VolumeView,
} from '../../shared/model/api-views.ts';
import type { ExplainView } from '../../shared/model/explanation-view.ts';
import type { ManagerPort } from './manager-port.ts';

/** Names listed in a refusal: enough to spot a typing error, short enough for one line. */
const NAMES_SHOWN_MAX = 8;

function notFound(what: string, given: string, known: readonly string[]): StorageError {
  const shown = known.slice(0, NAMES_SHOWN_MAX).join(', ');
  const more = known.length > NAMES_SHOWN_MAX ? `, … (${known.length} in all)` : '';
  const hint = known.length === 0 ? `there is no ${what} yet` : `known: ${shown}${more}`;
  return new StorageError('not-found', `No ${what} is called "${given}"; ${hint}`, {
    field: what,
    given,
    known: known.slice(0, NAMES_SHOWN_MAX),
  });
}

/** `n3`, or a hostname when only one node has it. */
export function getNode(manager: ManagerPort, given: string): NodeView {
  const id = parseNode(given);
  const byId = id === null ? null : manager.node(id);
  if (byId !== null) return byId;
  const nodes = manager.nodes();
  const named = nodes.filter((node) => node.hostname === given);
  if (named.length > 1) {
    const ids = named.map((node) => node.id).join(', ');
    throw invalidField('node', given, `an id, because several nodes have this hostname: ${ids}`);
  }
  const found = named[0];
  if (found === undefined) {
    throw notFound(
      'node',
      given,
      nodes.map((node) => node.id),
    );
  }
  return found;
}

/** `d7`, or its UUID. */
export function getDisk(manager: ManagerPort, given: string): DiskView {
  const disks = manager.disks();
  const found =
    disks.find((disk) => disk.id === given) ?? disks.find((disk) => disk.uuid === given);
  if (found === undefined) {
    throw notFound(
      'disk',
      given,
      disks.map((disk) => disk.id),
    );
  }
  return found;
}

export function getPool(manager: ManagerPort, given: string): PoolView {
  const pools = manager.pools();
  const found = pools.find((pool) => pool.name === given);
  if (found === undefined) {
    throw notFound(
      'pool',
      given,
      pools.map((pool) => pool.name),
    );
  }
  return found;
}

/** Undefined when there is none: for waiting until a volume has vanished. */
export function findVolume(manager: ManagerPort, given: string): VolumeView | undefined {
  const volumes = manager.volumes();
  return (
    volumes.find((volume) => volume.id === given) ?? volumes.find((volume) => volume.name === given)
  );
}

export function getVolume(manager: ManagerPort, given: string): VolumeView {
  const found = findVolume(manager, given);
  if (found === undefined) {
    throw notFound(
      'volume',
      given,
      manager.volumes().map((volume) => volume.name),
    );
  }
  return found;
}

export function getJob(manager: ManagerPort, given: string): JobView {
  const jobs = manager.jobs();
  const found = jobs.find((job) => job.id === given);
  if (found === undefined) {
    throw notFound(
      'job',
      given,
      jobs.map((job) => job.id),
    );
  }
  return found;
}

/** Empty explanations mean green; `not-found` when nothing has this id or name. */
export function getExplanation(manager: ManagerPort, given: string): ExplainView {
  const found = manager.explain(given);
  if (found !== null) return found;
  const names = [
    ...manager.pools().map((pool) => pool.name),
    ...manager.volumes().map((v) => v.name),
  ];
  throw notFound('node, disk, placement group, volume, pool or job', given, names);
}

export function findAttachment(manager: ManagerPort, volume: string): AttachmentView | undefined {
  return manager.attachments().find((attachment) => attachment.volume === volume);
}

export const nodeIdOf = (view: NodeView): NodeId => present(parseNode(view.id), 'node id');
export const diskIdOf = (view: DiskView): DiskId => present(parseDisk(view.id), 'disk id');
export const jobIdOf = (view: JobView): JobId => present(parseJob(view.id), 'job id');
export const volumeIdOf = (view: VolumeView): VolumeId =>
  present(parseVolume(view.id), 'volume id');

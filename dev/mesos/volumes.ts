/**
 * Persistent volumes as directories: where they lie on the host, how they are made and wiped, and
 * how a container sees them (a symbolic link in its sandbox, as the posix file system isolator does
 * it).
 */

import { mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { assert } from '../../shared/base/assert.ts';
import type { Resource } from '../../shared/mesos/messages.ts';
import { isVolume, type Resources } from './resources.ts';

/**
 * Host path of a volume: the root itself for a MOUNT disk, `<root>/volumes/roles/<role>/<id>` for
 * PATH and, below the agent's work directory, for the root disk.
 */
export function volumePath(volume: Resource, workDirectory: string): string {
  const { persistence, source } = volume.disk ?? {};
  assert(persistence !== undefined, 'the resource is a volume');
  if (source?.type === 'MOUNT') {
    assert(source.mount?.root !== undefined, 'a MOUNT disk has a root');
    return source.mount.root;
  }
  const root = source?.type === 'PATH' ? source.path?.root : workDirectory;
  assert(root !== undefined, 'a PATH disk has a root');
  const role = volume.reservations?.at(-1)?.role ?? '*';
  return join(root, 'volumes', 'roles', role.replaceAll('/', ' '), persistence.id);
}

export function createVolume(volume: Resource, workDirectory: string): void {
  mkdirSync(volumePath(volume, workDirectory), { recursive: true });
}

/** Wipes the data: the directory goes, of a MOUNT disk only what is in it. */
export function destroyVolume(volume: Resource, workDirectory: string): void {
  const path = volumePath(volume, workDirectory);
  if (volume.disk?.source?.type !== 'MOUNT') {
    rmSync(path, { recursive: true, force: true });
    return;
  }
  for (const entry of readdirSync(path))
    rmSync(join(path, entry), { recursive: true, force: true });
}

/** Only one path segment works; anything else Mesos passes over in silence. */
export function hasUsableContainerPath(volume: Resource): boolean {
  const path = volume.disk?.volume?.container_path ?? '';
  return path !== '' && path !== '.' && path !== '..' && !path.includes('/');
}

/** Shows the volumes in a sandbox. */
export function linkVolumes(resources: Resources, sandbox: string, workDirectory: string): void {
  for (const volume of resources) {
    if (!isVolume(volume) || !hasUsableContainerPath(volume)) continue;
    const link = join(sandbox, volume.disk?.volume?.container_path ?? '');
    const target = volumePath(volume, workDirectory);
    if (readLink(link) === target) continue;
    rmSync(link, { recursive: true, force: true });
    symlinkSync(target, link);
  }
}

/** Takes the volumes out of a sandbox again; open files stay open. */
export function unlinkVolumes(resources: Resources, sandbox: string): void {
  for (const volume of resources) {
    if (!isVolume(volume) || !hasUsableContainerPath(volume)) continue;
    const link = join(sandbox, volume.disk?.volume?.container_path ?? '');
    if (readLink(link) !== undefined) unlinkSync(link);
  }
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // not there, or no link: either way nothing of ours
  }
}

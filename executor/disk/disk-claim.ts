/**
 * Makes sure that a directory is ours before anything is written to it: it holds this disk's superblock, or
 * nothing at all. Whatever else is found is left exactly as it is, and named: files of others, a store of another
 * cluster or of another disk, something that cannot be read.
 */
import { describeError, StorageError } from '../../shared/base/errors.ts';
import {
  FOREIGN_FOUND_MAX,
  FOREIGN_KINDS,
  type ForeignFinding,
} from '../../shared/model/node-report.ts';
import type { Disk } from '../../shared/ports.ts';
import { DiskError } from '../../shared/ports.ts';
import type { StoreOptions } from './store-types.ts';
import { encodeSuperblock, readSuperblock, SUPERBLOCK_NAME } from './superblock.ts';

/** Names that are shown of what is in the way. */
const NAMES_SHOWN_MAX = 5;
/** Not allowed, rather than broken. */
const FORBIDDEN = ['EACCES', 'EPERM'];

/**
 * Ours already, or empty and now ours. Throws `foreign-data` with a `ForeignFinding` as detail `foreign`,
 * `corrupt` (a damaged superblock, with the same detail), `not-found` (empty, and `create` is false), or what
 * the disk throws.
 */
export function claimDisk(options: StoreOptions, disk: Disk): void {
  if (examine(disk, () => disk.exists(SUPERBLOCK_NAME))) {
    compare(options, disk);
    return;
  }
  const names = examine(disk, () => disk.list()).filter((name) => !isHarmless(name));
  if (names.length > 0) {
    const shown = names.slice(0, NAMES_SHOWN_MAX).join(', ');
    const found = names.length > NAMES_SHOWN_MAX ? `${shown}, … (${names.length} in all)` : shown;
    const text = `Directory "${disk.path}" holds "${names[0]}" and no superblock, expected it to be empty`;
    throw foreign(text, { kind: 'unknown-files', found });
  }
  if (!options.create) {
    throw new StorageError('not-found', `Directory "${disk.path}" holds no store`);
  }
  disk.writeFile(SUPERBLOCK_NAME, encodeSuperblock(options));
}

/** What is in the way of the disk, if that is why its opening failed. */
export function foreignOf(error: unknown): ForeignFinding | null {
  if (!(error instanceof StorageError)) return null;
  const found = error.details['foreign'];
  if (typeof found !== 'object' || found === null) return null;
  const finding = found as Partial<ForeignFinding>;
  const kind = FOREIGN_KINDS.find((known) => known === finding.kind);
  return kind === undefined || finding.found === undefined
    ? null
    : { ...finding, kind, found: finding.found };
}

/** What a file system brings along, and a superblock whose writing was cut short. */
function isHarmless(name: string): boolean {
  const isOfFileSystem = name === 'lost+found' || name.startsWith('lost+found/');
  return isOfFileSystem || name === `${SUPERBLOCK_NAME}.new`;
}

function compare(options: StoreOptions, disk: Disk): void {
  const found = readOwner(disk);
  for (const field of ['clusterId', 'diskId', 'uuid'] as const) {
    if (found[field] === options[field]) continue;
    const text = `Store on "${disk.path}" has ${field} "${found[field]}", expected "${options[field]}"`;
    const kind = field === 'clusterId' ? 'other-cluster' : 'other-disk';
    const whose =
      kind === 'other-cluster'
        ? `cluster ${found.clusterId}, disk d${found.diskId}`
        : `disk d${found.diskId} (${found.uuid})`;
    throw foreign(
      text,
      {
        kind,
        found: whose,
        ...(kind === 'other-disk' ? { disk: found.diskId, uuid: found.uuid } : {}),
      },
      { field, found: found[field], expected: options[field] },
    );
  }
}

function readOwner(disk: Disk): ReturnType<typeof readSuperblock> {
  try {
    return examine(disk, () => readSuperblock(disk));
  } catch (error) {
    if (!(error instanceof StorageError) || foreignOf(error) !== null) throw error;
    const kind = error.code === 'foreign-data' ? 'other-version' : 'unreadable';
    const finding: ForeignFinding = { kind, found: shorten(describeError(error)) };
    const text = `Superblock on "${disk.path}" is not ours to use: ${describeError(error)}`;
    throw new StorageError(error.code, text, { ...error.details, foreign: finding }, error);
  }
}

/** What we may not even look at belongs to somebody; a disk that fails is another matter. */
function examine<T>(disk: Disk, look: () => T): T {
  try {
    return look();
  } catch (error) {
    if (!(error instanceof DiskError) || !FORBIDDEN.includes(error.code)) throw error;
    const text = `Directory "${disk.path}" cannot be looked into: ${describeError(error)}`;
    throw foreign(text, { kind: 'unreadable', found: describeError(error) });
  }
}

function foreign(
  text: string,
  finding: ForeignFinding,
  details: Readonly<Record<string, unknown>> = {},
): StorageError {
  const kept: ForeignFinding = { ...finding, found: shorten(finding.found) };
  return new StorageError('foreign-data', text, { ...details, foreign: kept });
}

function shorten(text: string): string {
  return text.length <= FOREIGN_FOUND_MAX ? text : `${text.slice(0, FOREIGN_FOUND_MAX - 1)}…`;
}

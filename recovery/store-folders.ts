/**
 * Finds the stores below the folders that an operator names: a folder with a superblock is a disk of
 * ours. Mount points may be named themselves, or a folder some levels above them.
 */
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { decodeSuperblock, SUPERBLOCK_NAME, type Superblock } from '../executor/disk/superblock.ts';
import { describeError, StorageError } from '../shared/base/errors.ts';

export interface StoreFolder {
  readonly path: string;
  readonly superblock: Superblock;
}

export interface FoundFolders {
  readonly stores: readonly StoreFolder[];
  /** Folders that look like ours and cannot be used, and why. */
  readonly problems: readonly string[];
}

/** Mesos puts volumes five or six levels below an agent's work directory. */
const DEPTH_MAX = 8;
/** Somebody named "/": tell them, instead of searching for hours. */
const FOLDERS_MAX = 100_000;
const SKIPPED = new Set(['slabs', 'index', 'journal', 'proc', 'sys', 'lost+found']);

/** Throws `not-found` when a folder does not exist. */
export function findStores(folders: readonly string[]): FoundFolders {
  const stores = new Map<string, StoreFolder>();
  const problems: string[] = [];
  let visited = 0;
  const visit = (folder: string, depth: number): void => {
    visited += 1;
    if (visited > FOLDERS_MAX) {
      const what = `More than ${FOLDERS_MAX} folders below "${folders.join('", "')}"`;
      throw new StorageError('invalid-argument', what, {
        hint: 'Name the directories of the disks themselves',
      });
    }
    if (existsSync(join(folder, SUPERBLOCK_NAME))) {
      try {
        const path = realpathSync(folder);
        stores.set(path, { path, superblock: readSuperblock(folder) });
      } catch (error) {
        problems.push(`"${folder}": ${describeError(error)}`);
      }
      return;
    }
    if (depth === DEPTH_MAX) return;
    for (const name of foldersIn(folder, problems)) {
      if (!SKIPPED.has(name)) visit(join(folder, name), depth + 1);
    }
  };
  for (const folder of folders) {
    if (!existsSync(folder) || !statSync(folder).isDirectory()) {
      throw new StorageError('not-found', `There is no folder "${folder}"`, { folder });
    }
    visit(folder, 0);
  }
  return { stores: [...stores.values()], problems };
}

function readSuperblock(folder: string): Superblock {
  return decodeSuperblock(readFileSync(join(folder, SUPERBLOCK_NAME)));
}

function foldersIn(folder: string, problems: string[]): readonly string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch (error) {
    problems.push(`"${folder}": ${describeError(error)}`);
    return [];
  }
}

/**
 * The embedded metadata store: LMDB in a directory of one scheduler. A commit is one synchronous
 * transaction; it is durable when it returns. Only one process may lead on a directory: a lock file
 * names it, and a lock whose process is gone is taken over.
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { assert } from '../../shared/base/assert.ts';
import { describeError, StorageError } from '../../shared/base/errors.ts';
import { findLmdbDamage } from '../../shared/node/lmdb-file.ts';
import type { Leadership, MetadataStore, StoreChange, StoreSnapshot } from '../../shared/ports.ts';

/** Facts live below `r/`; the store's own two numbers beside them. */
const RECORD_PREFIX = 'r/';
const REVISION_KEY = 'm/revision';
const TERM_KEY = 'm/term';
/** Address of the leader of the current term. */
const ADDRESS_KEY = 'm/address';
const LOCK_FILE = 'leader.pid';
/** LMDB maps this much address space; facts of 1,000 nodes and 128k PGs take some 100 MiB. */
const MAP_BYTES = 4 * 1024 ** 3;

const OWN_FILES = new Set([LOCK_FILE, 'data.mdb', 'lock.mdb']);

/** `directory` is created when absent; one that holds other files is refused (`foreign-data`). */
export function openEmbeddedStore(directory: string): MetadataStore {
  prepareDirectory(directory);
  const damage = findLmdbDamage(directory);
  if (damage !== null) {
    throw new StorageError(
      'corrupt',
      `Metadata store "${directory}" cannot be opened: ${damage}; bring back a copy of the directory`,
      { directory },
    );
  }
  let database: RootDatabase<string, string>;
  try {
    database = open<string, string>({
      path: directory,
      encoding: 'string',
      mapSize: MAP_BYTES,
      noSubdir: false,
    });
  } catch (error) {
    throw new StorageError(
      'corrupt',
      `Metadata store "${directory}" cannot be opened: ${describeError(error)}`,
      { directory },
      error,
    );
  }
  const numberAt = (key: string): number => Number(database.get(key) ?? '0');
  /** The leadership of this process; null while it does not lead. */
  let leading: { readonly term: number; readonly lock: string; end(reason: string): void } | null =
    null;
  return {
    async campaign({ address, aboveTerm = 0 }): Promise<Leadership> {
      if (leading !== null) {
        throw new StorageError('conflict', `Metadata store "${directory}" is led by this process`);
      }
      const lock = takeLock(directory);
      // In the transaction, as below: whoever waits for its turn to write sees what was written before.
      const term = database.transactionSync(() => {
        const next = Math.max(numberAt(TERM_KEY), aboveTerm) + 1;
        database.putSync(TERM_KEY, String(next));
        database.putSync(ADDRESS_KEY, address);
        return next;
      });
      const lost = new Promise<string>((resolve) => {
        leading = { term, lock, end: resolve };
      });
      return { term, lost };
    },
    async leader() {
      if (lockOwner(directory) === null) return null;
      return { term: numberAt(TERM_KEY), address: database.get(ADDRESS_KEY) ?? '' };
    },
    async load(): Promise<StoreSnapshot> {
      const entries = [];
      for (const { key, value } of database.getRange({
        start: RECORD_PREFIX,
        end: `${RECORD_PREFIX}\uffff`,
      })) {
        entries.push({ key: key.slice(RECORD_PREFIX.length), value });
      }
      return { revision: numberAt(REVISION_KEY), entries };
    },
    async commit(changes: readonly StoreChange[], expectedRevision: number): Promise<number> {
      return database.transactionSync(() => {
        if (leading === null || leading.term !== numberAt(TERM_KEY)) {
          throw new StorageError(
            'conflict',
            `Metadata store "${directory}" is not led by this process`,
          );
        }
        const revision = numberAt(REVISION_KEY);
        if (revision !== expectedRevision) {
          throw new StorageError(
            'conflict',
            `Metadata store "${directory}" is at revision ${revision}, expected ${expectedRevision}`,
            { revision, expectedRevision },
          );
        }
        for (const change of changes) {
          if (change.value === null) database.removeSync(RECORD_PREFIX + change.key);
          else database.putSync(RECORD_PREFIX + change.key, change.value);
        }
        database.putSync(REVISION_KEY, String(revision + 1));
        return revision + 1;
      });
    },
    async resign() {
      if (leading === null) return;
      // Another process may have taken it for a dead one's: two containers do not see each other's processes.
      if (readLock(directory) === leading.lock) rmSync(join(directory, LOCK_FILE), { force: true });
      leading.end('This process resigned');
      leading = null;
    },
    async close() {
      await this.resign();
      await database.close();
    },
  };
}

function prepareDirectory(directory: string): void {
  if (!existsSync(directory)) {
    try {
      mkdirSync(directory, { recursive: true });
    } catch (error) {
      throw new StorageError(
        'invalid-argument',
        `State directory "${directory}" cannot be created: ${describeError(error)}`,
        { directory },
        error,
      );
    }
    return;
  }
  const foreign = readdirSync(directory).filter((name) => !OWN_FILES.has(name));
  if (foreign.length > 0) {
    throw new StorageError(
      'foreign-data',
      `State directory "${directory}" holds files that are not a metadata store's ("${foreign[0]}"); name an empty directory`,
      { directory, foreign: foreign.slice(0, 5) },
    );
  }
}

/** The lock holds the process id and its start time, so that a used-again id is not taken for it. Returns what it holds. */
function takeLock(directory: string): string {
  const path = join(directory, LOCK_FILE);
  const content = `${process.pid} ${processStart(process.pid) ?? ''}`;
  for (let attempt = 0; attempt < 3; attempt += 1) {
    try {
      const file = openSync(path, 'wx', 0o600);
      writeSync(file, content);
      closeSync(file);
      return content;
    } catch (error) {
      assert(error instanceof Error, 'openSync throws errors');
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const pid = lockOwner(directory);
    if (pid !== null && pid !== process.pid) {
      throw new StorageError(
        'conflict',
        `State directory "${directory}" is in use by the scheduler with process id ${pid}; stop it or name another directory`,
        { directory, pid },
      );
    }
    rmSync(path, { force: true });
  }
  throw new StorageError(
    'conflict',
    `State directory "${directory}" is contended by another process`,
  );
}

/** The living process that the lock names; null when there is none. */
function lockOwner(directory: string): number | null {
  const text = readLock(directory);
  if (text === null) return null;
  const [pidText, start] = text.split(' ');
  const pid = Number(pidText);
  return isAlive(pid, start ?? '') ? pid : null;
}

/** null: nobody holds it, or it was given back this moment. */
function readLock(directory: string): string | null {
  try {
    return readFileSync(join(directory, LOCK_FILE), 'utf8');
  } catch {
    return null;
  }
}

function isAlive(pid: number, start: string): boolean {
  const now = processStart(pid);
  return now !== null && (start === '' || now === start);
}

/** Field 22 of /proc/PID/stat: clock ticks after boot at which the process began; null when it has ended. */
function processStart(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie holds nothing any more; its parent has not looked yet.
    return fields[0] === 'Z' ? null : (fields[19] ?? null);
  } catch {
    // No such process (or no /proc): the lock's owner cannot be shown to live.
    return null;
  }
}

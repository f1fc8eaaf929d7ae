/**
 * An ext4 file system on a volume (nbdfuse, a loop device) with an SQLite database on it that commits all the time.
 * A commit counts when SQLite has said so after its fsync. `crash` cuts the power of the client: the device goes
 * away under the mounted file system, and whatever was not flushed is lost with the page cache.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '../../dev/demo/api-client.ts';
import { StorageError } from '../../shared/base/errors.ts';
import { expectClient, runClient } from '../e2e/nbd/clients.ts';
import type { Load } from './load.ts';
import { PauseMeter } from './pause-meter.ts';

const COMMIT_EVERY_MS = 40;
const PATIENCE_MS = 90_000;
/** Every row can be checked by itself. */
const PAYLOAD = "printf('%0200d', n * 7919)";

export interface FilesystemLoad extends Load {
  /** Where the file system is while it is mounted; the database is `log.db` there. */
  readonly mountPath: string;
  /** Recovers it from its journal where that is necessary. */
  mount(): Promise<void>;
  /** Next time the file system is used, it has to recover from its journal. */
  crash(): Promise<void>;
}

/** Null when this machine can mount; else why it cannot. */
export function findMountObstacle(): string | null {
  if (process.getuid?.() !== 0) return 'mounting needs root';
  if (!existsSync('/dev/fuse')) return 'there is no /dev/fuse';
  if (!existsSync('/dev/loop-control')) return 'there is no /dev/loop-control';
  return null;
}

export async function createFilesystemLoad(options: {
  readonly uri: string;
  readonly directory: string;
}): Promise<FilesystemLoad> {
  const load = new SqliteOnExt4(options.uri, options.directory);
  try {
    await load.open(true);
  } catch (error) {
    await load.close();
    throw error;
  }
  return load;
}

class SqliteOnExt4 implements FilesystemLoad {
  readonly name = 'SQLite on ext4';
  readonly #uri: string;
  readonly #directory: string;
  readonly mountPath: string;
  readonly #pauses = new PauseMeter();
  #fuse: ChildProcess | null = null;
  #loop: string | null = null;
  #isMounted = false;
  #writer: SqliteWriter | null = null;
  #committed = 0;
  #next = 1;
  #crashes = 0;
  #checks = 0;

  constructor(uri: string, directory: string) {
    this.#uri = uri;
    this.#directory = directory;
    this.mountPath = join(directory, 'mount');
  }

  get figures(): Readonly<Record<string, number>> {
    return {
      commits: this.#committed,
      crashes: this.#crashes,
      fileSystemChecks: this.#checks,
      pauseMsMax: this.#pauses.pauseMsMax,
    };
  }

  async open(isNew: boolean): Promise<void> {
    const fuseDirectory = join(this.#directory, 'fuse');
    mkdirSync(fuseDirectory, { recursive: true });
    mkdirSync(this.mountPath, { recursive: true });
    const file = join(fuseDirectory, 'vol');
    this.#fuse = spawn('nbdfuse', [file, this.#uri], { stdio: 'ignore' });
    await waitFor('nbdfuse to mount', PATIENCE_MS, async () => (existsSync(file) ? true : null));
    const setup = ['-f', '--show', '--direct-io=on', file];
    this.#loop = (await this.#run('losetup', setup)).trim();
    if (isNew) await this.#run('mkfs.ext4', ['-q', '-E', 'nodiscard', this.#loop]);
    await this.#run('mount', ['-o', 'discard', this.#loop, this.mountPath]);
    this.#isMounted = true;
    if (isNew) {
      await this.#sql(
        'PRAGMA journal_mode=WAL; CREATE TABLE log (n INTEGER PRIMARY KEY, payload TEXT); CREATE INDEX by_payload ON log (payload);',
      );
    }
  }

  async mount(): Promise<void> {
    if (!this.#isMounted) await this.open(false);
  }

  async start(): Promise<void> {
    await this.mount();
    this.#writer = new SqliteWriter(this.#database, this.#next, this.#pauses, (n) => {
      this.#committed = n;
    });
  }

  async stop(): Promise<void> {
    const writer = this.#writer;
    this.#writer = null;
    if (writer === null) return;
    await writer.stop();
    this.#next = writer.next;
  }

  async crash(): Promise<void> {
    const writer = this.#writer;
    this.#writer = null;
    this.#fuse?.kill('SIGKILL');
    writer?.kill();
    if (writer !== null) this.#next = writer.next;
    await this.#unmount();
    this.#crashes += 1;
  }

  async verify(): Promise<string> {
    await this.mount();
    const integrity = (await this.#sql('PRAGMA integrity_check;')).trim();
    if (integrity !== 'ok') throw new StorageError('corrupt', `integrity_check: ${integrity}`);
    const answer = await this.#sql(
      `SELECT count(*), coalesce(max(n), 0), coalesce(sum(payload <> ${PAYLOAD}), 0) FROM log;`,
    );
    const [rows = -1, last = -1, wrong = -1] = answer.trim().split('|').map(Number);
    // A commit that was not answered may be there; one that was answered must be.
    if (rows !== last || wrong !== 0 || last < this.#committed) {
      throw new StorageError(
        'corrupt',
        `${rows} rows up to ${last}, ${wrong} of them wrong, expected all up to ${this.#committed}`,
      );
    }
    this.#next = last + 1;
    await this.#unmount();
    await this.#check();
    return `${rows} commits right, file system clean`;
  }

  async close(): Promise<void> {
    this.#writer?.kill();
    this.#writer = null;
    await this.#unmount();
  }

  get #database(): string {
    return join(this.mountPath, 'log.db');
  }

  /** The device alone, without mounting it. */
  async #check(): Promise<void> {
    const file = join(this.#directory, 'fuse', 'vol');
    this.#fuse = spawn('nbdfuse', [file, this.#uri], { stdio: 'ignore' });
    await waitFor('nbdfuse to mount', PATIENCE_MS, async () => (existsSync(file) ? true : null));
    await this.#run('e2fsck', ['-fn', file]);
    this.#checks += 1;
    await this.#unmount();
  }

  async #unmount(): Promise<void> {
    const cwd = '/';
    // After a crash the file system cannot write any more: it is let go of, and its device with it.
    if (this.#isMounted) {
      const clean = await runClient('umount', [this.mountPath], { cwd });
      if (clean.code !== 0) await runClient('umount', ['-l', '-f', this.mountPath], { cwd });
    }
    this.#isMounted = false;
    if (this.#loop !== null) await runClient('losetup', ['-d', this.#loop], { cwd });
    this.#loop = null;
    await runClient('fusermount3', ['-u', '-z', join(this.#directory, 'fuse')], { cwd });
    const fuse = this.#fuse;
    this.#fuse = null;
    if (fuse === null || fuse.exitCode !== null || fuse.signalCode !== null) return;
    fuse.kill('SIGTERM');
    await new Promise((resolve) => fuse.once('exit', resolve));
  }

  #sql(text: string): Promise<string> {
    return this.#run('sqlite3', ['-batch', this.#database, text]);
  }

  #run(program: string, args: readonly string[]): Promise<string> {
    return expectClient(program, args, { cwd: this.#directory });
  }
}

/** One sqlite3 process that is given one transaction after the other. */
class SqliteWriter {
  readonly #child: ChildProcess;
  readonly #pauses: PauseMeter;
  readonly #onCommit: (n: number) => void;
  readonly #ended: Promise<void>;
  #next: number;
  #isStopping = false;
  #complaint = '';
  #endOfCommit: (() => void) | null = null;
  #output = '';

  constructor(database: string, first: number, pauses: PauseMeter, onCommit: (n: number) => void) {
    this.#next = first;
    this.#pauses = pauses;
    this.#onCommit = onCommit;
    this.#child = spawn('stdbuf', ['-oL', 'sqlite3', '-batch', '-bail', database], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child.stdin?.on('error', () => undefined); // It ended: its exit says so.
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#complaint = (this.#complaint + chunk.toString()).slice(-1000);
    });
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#onOutput(chunk.toString()));
    this.#ended = new Promise((resolve) => this.#child.once('close', () => resolve()));
    this.#child.stdin?.write('PRAGMA synchronous=FULL;\n');
    this.#commit();
  }

  /** The first row that was not asked for yet. */
  get next(): number {
    return this.#next;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    // What it was given is done first.
    this.#child.stdin?.end();
    const patience = setTimeout(() => this.kill(), PATIENCE_MS);
    await this.#ended;
    clearTimeout(patience);
    if (this.#complaint !== '' || this.#child.exitCode !== 0) {
      throw new StorageError(
        'disk-failed',
        `sqlite3 ended with ${this.#child.signalCode ?? this.#child.exitCode}: ${this.#complaint.trim()}`,
      );
    }
  }

  kill(): void {
    this.#isStopping = true;
    this.#child.kill('SIGKILL');
  }

  #commit(): void {
    if (this.#isStopping) return;
    const n = this.#next;
    this.#next += 1;
    this.#endOfCommit = this.#pauses.begin();
    this.#child.stdin?.write(
      `BEGIN; INSERT INTO log SELECT n, ${PAYLOAD} FROM (SELECT ${n} AS n); COMMIT; SELECT 'done', ${n};\n`,
    );
  }

  #onOutput(text: string): void {
    this.#output += text;
    const lines = this.#output.split('\n');
    this.#output = lines.pop() ?? '';
    for (const line of lines) {
      const [word, n] = line.split('|');
      if (word !== 'done') continue;
      this.#endOfCommit?.();
      this.#onCommit(Number(n));
      setTimeout(() => this.#commit(), COMMIT_EVERY_MS);
    }
  }
}

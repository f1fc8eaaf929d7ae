/**
 * ZooKeeper as the coordinator of a metadata store.
 *
 *   PATH/election/c-UUID-NNNNNNNNNN   ephemeral, one of each candidate: the lowest number has the seat
 *   PATH/leader                       term, address and candidate of who took the seat last
 *   PATH/head                         the journal's head
 *   PATH/log/…  snapshots/…  parts/…  the journal's nodes
 *
 * Fence: whoever takes the seat writes `leader`, and every transaction of a seat checks that node's version.
 */
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { Candidate, Clock, LeaderRecord, Log, Random } from '../../shared/ports.ts';
import type { Coordinator, Folder, HeadRecord, NodeName, Seat } from './coordinator.ts';
import { readTaken, type Taken } from './leader-record.ts';
import { BackOff, Pauses } from './pauses.ts';
import { Tenure } from './tenure.ts';
import { ZooKeeperSeat } from './zookeeper-seat.ts';
import {
  resolveServers,
  type ZooKeeperAddress,
  ZooKeeperError,
  ZooKeeperSession,
} from './zookeeper-session.ts';

export interface ZooKeeperStoreAddress extends ZooKeeperAddress {
  /** Absolute, without a slash at the end. */
  readonly path: string;
}

export interface CoordinatorModules {
  readonly clock: Clock;
  readonly log: Log;
  readonly random: Random;
}

/** A watch may be lost with a connection: look again after so long in any case. */
const LOOK_AGAIN_MS = 2_000;
/** Reads are sent again for so many sessions: longer than the service needs for a new leader of its own. */
const READ_PATIENCE_SESSIONS = 2;
const READ_RETRY_MS = 200;

const FOLDERS: readonly Folder[] = ['log', 'snapshots', 'parts'];

export class ZooKeeperCoordinator implements Coordinator {
  readonly name: string;
  readonly #address: ZooKeeperStoreAddress;
  readonly #sessionMs: number;
  readonly #modules: CoordinatorModules;
  readonly #pauses: Pauses;
  #session: ZooKeeperSession | null = null;
  #opening: Promise<ZooKeeperSession> | null = null;

  constructor(address: ZooKeeperStoreAddress, sessionMs: number, modules: CoordinatorModules) {
    this.#address = address;
    this.#sessionMs = sessionMs;
    this.#modules = modules;
    this.name = `zk://${address.servers.join(',')}${address.path}`;
    this.#pauses = new Pauses(modules.clock, this.name);
  }

  async takeSeat(candidate: Candidate): Promise<Seat> {
    const backOff = new BackOff();
    for (;;) {
      let session: ZooKeeperSession | null = null;
      try {
        session = await this.#open();
        return await this.#campaign(session, candidate);
      } catch (error) {
        // With the session goes our place in the election, which may or may not have been created.
        await session?.close();
        this.#pauses.assertOpen();
        if (!(error instanceof StorageError) || error.code !== 'unavailable') throw error;
        const waitMs = backOff.next();
        this.#modules.log('warn', 'Cannot campaign at the metadata store, trying again', {
          store: this.name,
          reason: describeError(error),
          waitMs,
        });
        await this.#pauses.pause(waitMs);
      }
    }
  }

  async leader(seat: Seat | null): Promise<LeaderRecord | null> {
    if (seat instanceof ZooKeeperSeat && (await seat.isConfirmed())) return seat.record;
    return this.#patiently(async (session) => {
      const taken = readTaken((await session.get(this.#path('leader')))?.data);
      if (taken === null || taken.candidate === '') return null;
      const stat = await session.exists(this.#path(`election/${taken.candidate}`));
      return stat === null ? null : { term: taken.term, address: taken.address };
    });
  }

  readHead(): Promise<HeadRecord> {
    return this.#patiently(async (session) => {
      const node = await session.get(this.#path('head'));
      if (node === null) return { text: '', version: '0' };
      return { text: node.data.toString('utf8'), version: String(node.version) };
    });
  }

  read(names: readonly NodeName[]): Promise<readonly (Buffer | null)[]> {
    return this.#patiently(async (session) => {
      const nodes = await Promise.all(names.map((name) => session.get(this.#path(name))));
      return nodes.map((node) => node?.data ?? null);
    });
  }

  list(folder: Folder): Promise<readonly NodeName[]> {
    return this.#patiently(async (session) => {
      const names = (await session.children(this.#path(folder))) ?? [];
      return names.map((name): NodeName => `${folder}/${name}`);
    });
  }

  async close(): Promise<void> {
    this.#pauses.close();
    await this.#session?.close();
  }

  // ── Campaign ───────────────────────────────────────────────────────────────────────────────

  async #campaign(session: ZooKeeperSession, { address, aboveTerm = 0 }: Candidate): Promise<Seat> {
    for (const name of ['election', 'leader', 'head', ...FOLDERS]) {
      await session.ensure(this.#path(name));
    }
    const id = this.#modules.random.uuid();
    const path = await session.createEphemeral(
      this.#path(`election/c-${id}-`),
      Buffer.from(JSON.stringify({ address })),
    );
    const candidate = path.slice(path.lastIndexOf('/') + 1);
    await this.#waitForTurn(session, candidate);

    const leaderPath = this.#path('leader');
    const found = await session.get(leaderPath);
    if (found === null) throw new StorageError('unavailable', `Node "${leaderPath}" has vanished`);
    const term = Math.max(readTaken(found.data)?.term ?? 0, aboveTerm) + 1;
    const taken: Taken = { term, address, candidate };
    const sentAtMs = this.#modules.clock.now();
    // While our node is there nobody else has the seat: a fresh node's version 0, which the library
    // cannot check, is as good as checked.
    const { failedAt, versions } = await session.multi([
      { kind: 'check', path, version: null },
      {
        kind: 'set',
        path: leaderPath,
        data: Buffer.from(JSON.stringify(taken)),
        version: found.version === 0 ? null : found.version,
      },
    ]);
    const leaderVersion = versions[1];
    if (failedAt !== null || leaderVersion === null || leaderVersion === undefined) {
      throw new StorageError('unavailable', `The seat at "${this.name}" went to another candidate`);
    }
    const tenure = new Tenure(this.#modules.clock, session.sessionMs, sentAtMs);
    const seat = new ZooKeeperSeat(
      { session, tenure, clock: this.#modules.clock },
      { root: this.#address.path, term, address, candidate, leaderVersion },
    );
    await seat.prepareHead();
    return seat;
  }

  async #waitForTurn(session: ZooKeeperSession, candidate: string): Promise<void> {
    let isToldOf = '';
    let wakeUp: () => void = () => undefined;
    // One and the same for all rounds: the library keeps a list of those that wait.
    const onNews = (): void => wakeUp();
    session.onEnd(onNews);
    for (;;) {
      this.#pauses.assertOpen();
      const names = (await session.children(this.#path('election'))) ?? [];
      const queue = [...names].sort((a, b) => sequence(a) - sequence(b));
      const place = queue.indexOf(candidate);
      if (place < 0) throw new StorageError('unavailable', `Candidate "${candidate}" is not there`);
      const before = queue[place - 1];
      if (before === undefined) return;
      if (before !== isToldOf) {
        isToldOf = before;
        this.#modules.log('info', 'Waiting to lead', { store: this.name, after: before });
      }
      await this.#pauses.pause(LOOK_AGAIN_MS, async (wake) => {
        wakeUp = wake;
        const stat = await session.exists(this.#path(`election/${before}`), onNews);
        if (stat === null) wake();
      });
    }
  }

  // ── Sessions and waits ─────────────────────────────────────────────────────────────────────

  /** The session of this moment; a new one when the last is over. */
  #open(): Promise<ZooKeeperSession> {
    this.#pauses.assertOpen();
    if (this.#session !== null && this.#session.endReason === null) {
      return Promise.resolve(this.#session);
    }
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  async #connect(): Promise<ZooKeeperSession> {
    const servers = await resolveServers(this.#address.servers);
    this.#pauses.assertOpen();
    this.#session = new ZooKeeperSession(this.#address, servers, this.#sessionMs, this.#modules);
    return this.#session;
  }

  /** Sends reads again that a change of server cut off. */
  async #patiently<T>(work: (session: ZooKeeperSession) => Promise<T>): Promise<T> {
    const { clock } = this.#modules;
    const deadlineMs = clock.now() + READ_PATIENCE_SESSIONS * this.#sessionMs;
    for (;;) {
      try {
        return await work(await this.#open());
      } catch (error) {
        this.#pauses.assertOpen();
        if (!(error instanceof ZooKeeperError) || clock.now() >= deadlineMs) throw error;
        await this.#pauses.pause(READ_RETRY_MS);
      }
    }
  }

  #path(name: string): string {
    return `${this.#address.path}/${name}`;
  }
}

function sequence(name: string): number {
  return Number(name.slice(-10));
}

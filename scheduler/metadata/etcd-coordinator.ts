/**
 * etcd as the coordinator of a metadata store.
 *
 *   PREFIX/election/UUID                 one of each candidate, tied to its lease: the oldest has the seat
 *   PREFIX/leader                        term, address and candidate of who took the seat last
 *   PREFIX/head                          the journal's head
 *   PREFIX/log/…  snapshots/…  parts/…   the journal's nodes
 *
 * Fence: every transaction of a seat compares the create revision of its candidate's key, which etcd
 * removes with the lease, and the modification revision of `leader`.
 */
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { Candidate, LeaderRecord } from '../../shared/ports.ts';
import type { Coordinator, Folder, HeadRecord, NodeName, Seat } from './coordinator.ts';
import { type EtcdAddress, EtcdConnection, EtcdError } from './etcd-connection.ts';
import { callDeadline, EtcdLease, EtcdSeat } from './etcd-seat.ts';
import type { EtcdWire, KeyValue, RangeRequest, RangeResponse } from './etcd-wire.ts';
import { readTaken, type Taken } from './leader-record.ts';
import { BackOff, Pauses } from './pauses.ts';
import type { CoordinatorModules } from './zookeeper-coordinator.ts';

export interface EtcdStoreAddress extends EtcdAddress {
  /** Absolute, without a slash at the end. */
  readonly path: string;
}

/** Between looks at the election: two cheap reads a second of each standby. */
const LOOK_MS = 500;
/** Reads are sent again for so many sessions: longer than the service needs for a new leader of its own. */
const READ_PATIENCE_SESSIONS = 2;
const READ_RETRY_MS = 200;
/** Names of one answer. */
const LIST_PAGE = 1_000;

export class EtcdCoordinator implements Coordinator {
  readonly name: string;
  readonly #address: EtcdStoreAddress;
  readonly #sessionMs: number;
  readonly #modules: CoordinatorModules;
  readonly #connection: EtcdConnection;
  readonly #pauses: Pauses;
  #lease: EtcdLease | null = null;

  constructor(
    address: EtcdStoreAddress,
    sessionMs: number,
    wire: EtcdWire,
    modules: CoordinatorModules,
  ) {
    this.#address = address;
    this.#sessionMs = sessionMs;
    this.#modules = modules;
    this.#connection = new EtcdConnection(address, wire);
    const scheme = address.tls === null ? 'etcd' : 'etcds';
    this.name = `${scheme}://${address.servers.join(',')}${address.path}`;
    this.#pauses = new Pauses(modules.clock, this.name);
  }

  async takeSeat(candidate: Candidate): Promise<Seat> {
    const backOff = new BackOff();
    for (;;) {
      this.#pauses.assertOpen();
      try {
        this.#lease = await EtcdLease.grant(this.#sessionMs, this.#leaseModules());
        return await this.#campaign(this.#lease, candidate);
      } catch (error) {
        await this.#lease?.end(describeError(error));
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

  async leader(): Promise<LeaderRecord | null> {
    const taken = readTaken((await this.#get('leader'))?.value);
    if (taken === null) return null;
    // While its key is there nobody else can have taken the seat, also since the look before.
    const candidate = await this.#get(`election/${taken.candidate}`);
    return candidate === null ? null : { term: taken.term, address: taken.address };
  }

  async readHead(): Promise<HeadRecord> {
    const found = await this.#get('head');
    if (found === null) return { text: '', version: '0' };
    return { text: found.value.toString('utf8'), version: found.modRevision };
  }

  async read(names: readonly NodeName[]): Promise<readonly (Buffer | null)[]> {
    const found = await Promise.all(names.map((name) => this.#get(name)));
    return found.map((entry) => entry?.value ?? null);
  }

  async list(folder: Folder): Promise<readonly NodeName[]> {
    const names: NodeName[] = [];
    const rangeEnd = this.#key(`${folder}0`); // The character after the slash.
    let key = this.#key(`${folder}/`);
    for (;;) {
      const { kvs, more } = await this.#range({ key, rangeEnd, limit: LIST_PAGE, keysOnly: true });
      for (const found of kvs) {
        const text = found.key.toString('utf8');
        names.push(`${folder}/${text.slice(text.lastIndexOf('/') + 1)}`);
      }
      const last = kvs.at(-1);
      if (!more || last === undefined) return names;
      key = Buffer.concat([last.key, Buffer.alloc(1)]);
    }
  }

  async close(): Promise<void> {
    this.#pauses.close();
    await this.#lease?.end('The store was closed');
    this.#connection.close();
  }

  // ── Campaign ───────────────────────────────────────────────────────────────────────────────

  async #campaign(lease: EtcdLease, { address, aboveTerm = 0 }: Candidate): Promise<Seat> {
    const name = this.#modules.random.uuid();
    const candidate = this.#key(`election/${name}`);
    const entered = await this.#connection.call(
      'txn',
      {
        compare: [{ target: 1, key: candidate, createRevision: '0' }],
        success: [
          {
            requestPut: {
              key: candidate,
              value: Buffer.from(JSON.stringify({ address })),
              lease: lease.id,
            },
          },
        ],
        failure: [],
      },
      lease.callMs,
    );
    const createRevision = entered.header.revision;
    await this.#waitForTurn(lease, candidate);

    const leaderKey = this.#key('leader');
    const found = await this.#get('leader');
    const term = Math.max(readTaken(found?.value)?.term ?? 0, aboveTerm) + 1;
    const taken: Taken = { term, address, candidate: name };
    const took = await this.#connection.call(
      'txn',
      {
        compare: [
          { target: 1, key: candidate, createRevision },
          { target: 2, key: leaderKey, modRevision: found?.modRevision ?? '0' },
        ],
        success: [{ requestPut: { key: leaderKey, value: Buffer.from(JSON.stringify(taken)) } }],
        failure: [],
      },
      lease.callMs,
    );
    if (!took.succeeded) {
      throw new StorageError('unavailable', `The seat at "${this.name}" went to another candidate`);
    }
    return new EtcdSeat(
      lease,
      {
        keyOf: (key) => this.#key(key),
        term,
        address,
        candidate,
        createRevision,
        leaderRevision: took.header.revision,
      },
      this.#leaseModules(),
    );
  }

  async #waitForTurn(lease: EtcdLease, candidate: Buffer): Promise<void> {
    let isToldOf = '';
    for (;;) {
      this.#pauses.assertOpen();
      const ended = lease.tenure.endReason;
      if (ended !== null) throw new StorageError('unavailable', ended);
      const { kvs } = await this.#range({
        key: this.#key('election/'),
        rangeEnd: this.#key('election0'),
        limit: 1,
        sortOrder: 1,
        sortTarget: 2,
        keysOnly: true,
      });
      const first = kvs[0];
      if (first === undefined) throw new StorageError('unavailable', 'Our candidate is not there');
      if (first.key.equals(candidate)) return;
      const before = first.key.toString('utf8');
      if (before !== isToldOf) {
        isToldOf = before;
        this.#modules.log('info', 'Waiting to lead', { store: this.name, after: before });
      }
      await this.#pauses.pause(LOOK_MS);
    }
  }

  // ── Reads ──────────────────────────────────────────────────────────────────────────────────

  async #get(name: string): Promise<KeyValue | null> {
    const { kvs } = await this.#range({ key: this.#key(name) });
    return kvs[0] ?? null;
  }

  /** Linearizable: etcd answers it through its majority. */
  async #range(request: RangeRequest): Promise<RangeResponse> {
    const { clock } = this.#modules;
    const deadlineMs = clock.now() + READ_PATIENCE_SESSIONS * this.#sessionMs;
    for (;;) {
      try {
        return await this.#connection.call('range', request, callDeadline(this.#sessionMs));
      } catch (error) {
        this.#pauses.assertOpen();
        if (!(error instanceof EtcdError) || clock.now() >= deadlineMs) throw error;
        await this.#pauses.pause(READ_RETRY_MS);
      }
    }
  }

  #key(name: string): Buffer {
    return Buffer.from(`${this.#address.path}/${name}`);
  }

  #leaseModules(): {
    readonly connection: EtcdConnection;
    readonly clock: CoordinatorModules['clock'];
  } {
    return { connection: this.#connection, clock: this.#modules.clock };
  }
}

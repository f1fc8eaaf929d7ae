/**
 * The seat at an etcd cluster: a lease that is renewed several times while it lasts, and transactions that
 * are done only while our key in the election (which dies with the lease) and the `leader` key are as we
 * wrote them.
 */
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { Clock, LeaderRecord, Timer } from '../../shared/ports.ts';
import type { FencedWrite, NodeName, Seat } from './coordinator.ts';
import { type EtcdConnection, EtcdError } from './etcd-connection.ts';
import type { Compare, RequestOp, TxnResponse } from './etcd-wire.ts';
import { Tenure } from './tenure.ts';

export interface LeaseModules {
  readonly connection: EtcdConnection;
  readonly clock: Clock;
}

/** Renewals per session. */
const RENEWALS = 5;
/** Between attempts of a call that was not answered. */
const RETRY_MS = 100;
/** A transaction that etcd refuses for so long (no space, no leader) ends the leadership. */
const WRITE_PATIENCE_MS = 30_000;

/** A lease and the tenure that follows from it: that of a candidate first, then of the leader. */
export class EtcdLease {
  readonly tenure: Tenure;
  readonly id: string;
  readonly callMs: number;
  readonly #modules: LeaseModules;
  readonly #sessionMs: number;
  readonly #revoked: Promise<void>;
  #timer: Timer;

  private constructor(id: string, sessionMs: number, sentAtMs: number, modules: LeaseModules) {
    this.id = id;
    this.callMs = callDeadline(sessionMs);
    this.#sessionMs = sessionMs;
    this.#modules = modules;
    this.tenure = new Tenure(modules.clock, sessionMs, sentAtMs);
    this.#timer = this.#renewLater(sessionMs / RENEWALS);
    // With the lease goes our key: the next candidate need not wait until it runs out.
    this.#revoked = this.tenure.lost.then(async () => {
      this.#timer.cancel();
      await modules.connection
        .call('revoke', { ID: id }, Math.min(this.callMs, 1_000))
        .catch(() => undefined);
    });
  }

  static async grant(sessionMs: number, modules: LeaseModules): Promise<EtcdLease> {
    const sentAtMs = modules.clock.now();
    const seconds = Math.ceil(sessionMs / 1000);
    const granted = await modules.connection.call(
      'grant',
      { TTL: seconds },
      callDeadline(sessionMs),
    );
    // etcd may give a longer one than asked for; the shorter of the two is safe.
    const ms = Math.min(seconds, Number(granted.TTL)) * 1000;
    return new EtcdLease(granted.ID, ms, sentAtMs, modules);
  }

  async end(reason: string): Promise<void> {
    this.tenure.end(reason);
    await this.#revoked;
  }

  #renewLater(ms: number): Timer {
    return this.#modules.clock.after(ms, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    const { clock, connection } = this.#modules;
    if (this.tenure.endReason !== null) return;
    const sentAtMs = clock.now();
    let nextMs = this.#sessionMs / RENEWALS;
    try {
      const { TTL } = await connection.call('keepAlive', { ID: this.id }, this.callMs);
      if (Number(TTL) > 0) this.tenure.confirm(sentAtMs);
      else this.tenure.end('Its lease at etcd has run out');
    } catch {
      // The tenure's own clock goes on, and ends it in time.
      nextMs = RETRY_MS;
    }
    if (this.tenure.endReason === null) this.#timer = this.#renewLater(nextMs);
  }
}

/** Several calls fit into a session: a member that is stopped costs one of them. */
export function callDeadline(sessionMs: number): number {
  return Math.max(250, Math.round(sessionMs / 5));
}

export interface EtcdSeatRecord {
  /** Key of a name below the store's prefix. */
  keyOf(name: string): Buffer;
  readonly term: number;
  readonly address: string;
  /** Our key in the election, and the revision that created it. */
  readonly candidate: Buffer;
  readonly createRevision: string;
  /** Of the `leader` key as this seat wrote it. */
  readonly leaderRevision: string;
}

export class EtcdSeat implements Seat {
  readonly tenure: Tenure;
  readonly term: number;
  readonly #lease: EtcdLease;
  readonly #modules: LeaseModules;
  readonly #is: EtcdSeatRecord;

  constructor(lease: EtcdLease, record: EtcdSeatRecord, modules: LeaseModules) {
    this.tenure = lease.tenure;
    this.term = record.term;
    this.#lease = lease;
    this.#is = record;
    this.#modules = modules;
  }

  get record(): LeaderRecord {
    return { term: this.#is.term, address: this.#is.address };
  }

  async write({ head, puts = [] }: FencedWrite): ReturnType<Seat['write']> {
    const compare: Compare[] = [];
    const success: RequestOp[] = [];
    if (head !== undefined) {
      const key = this.#is.keyOf('head');
      compare.push({ target: 2, key, modRevision: head.fromVersion });
      success.push({ requestPut: { key, value: Buffer.from(head.text) } });
    }
    for (const { name, bytes } of puts) {
      success.push({ requestPut: { key: this.#is.keyOf(name), value: bytes } });
    }
    const { succeeded, header } = await this.#transact(compare, success);
    if (!succeeded) return { isDone: false, version: null };
    return { isDone: true, version: head === undefined ? null : header.revision };
  }

  async remove(names: readonly NodeName[]): Promise<void> {
    const success = names.map((name) => ({ requestDeleteRange: { key: this.#is.keyOf(name) } }));
    await this.#transact([], success);
  }

  async leave(reason: string): Promise<void> {
    await this.#lease.end(reason);
  }

  /** Fenced; sent again until it is answered or the tenure is over. */
  async #transact(
    compare: readonly Compare[],
    success: readonly RequestOp[],
  ): Promise<TxnResponse> {
    const { clock, connection } = this.#modules;
    const { candidate, createRevision, leaderRevision, keyOf } = this.#is;
    const leader = keyOf('leader');
    const request = {
      compare: [
        { target: 1, key: candidate, createRevision } as const,
        { target: 2, key: leader, modRevision: leaderRevision } as const,
        ...compare,
      ],
      success,
      failure: [candidate, leader].map((key) => ({ requestRange: { key, keysOnly: true } })),
    };
    const beganAtMs = clock.now();
    for (;;) {
      this.tenure.assertHolds();
      try {
        const answer = await connection.call('txn', request, this.#lease.callMs);
        if (!answer.succeeded) this.#assertFence(answer);
        return answer;
      } catch (error) {
        if (!(error instanceof EtcdError)) throw error;
        await new Promise<void>((resolve) => {
          clock.after(RETRY_MS, resolve);
        });
        if (clock.now() - beganAtMs > WRITE_PATIENCE_MS) this.tenure.end(describeError(error));
        const reason = this.tenure.endReason;
        if (reason === null) continue;
        throw new StorageError(
          'unavailable',
          `Whether the last change of the metadata went through is not known: ${reason}`,
          {},
          error,
        );
      }
    }
  }

  #assertFence({ responses }: TxnResponse): void {
    const [candidate, leader] = responses.map((response) => response.responseRange?.kvs[0]);
    if (candidate?.createRevision !== this.#is.createRevision) {
      this.tenure.end('Its place in the election was removed');
    } else if (leader?.modRevision !== this.#is.leaderRevision) {
      this.tenure.end('Another candidate has taken the seat');
    }
    this.tenure.assertHolds();
  }
}

/**
 * The seat at a ZooKeeper ensemble: its transactions, each fenced by the version of the `leader` node, and
 * the question asked several times per session whether it is still ours. That question is a
 * transaction too: it goes through the ensemble's majority, while a mere read or ping is answered by a
 * server that may be cut off from the others.
 */
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { Clock, LeaderRecord, Timer } from '../../shared/ports.ts';
import type { FencedWrite, NodeName, Seat } from './coordinator.ts';
import type { Tenure } from './tenure.ts';
import {
  type MultiResult,
  NO_NODE,
  NODE_EXISTS,
  type Operation,
  ZooKeeperError,
  type ZooKeeperSession,
} from './zookeeper-session.ts';

export interface SeatModules {
  readonly session: ZooKeeperSession;
  readonly tenure: Tenure;
  readonly clock: Clock;
}

export interface SeatRecord {
  readonly root: string;
  readonly term: number;
  readonly address: string;
  /** Name of its node below `election`. */
  readonly candidate: string;
  /** Of the `leader` node as this seat wrote it; at least 1. */
  readonly leaderVersion: number;
}

/** Between a lost connection and the next attempt: the library looks for another server meanwhile. */
const RETRY_MS = 100;
/** A transaction that is refused for so long ends the leadership. */
const WRITE_PATIENCE_MS = 30_000;
/** Questions per session. */
const QUESTIONS = 5;

export class ZooKeeperSeat implements Seat {
  readonly tenure: Tenure;
  readonly term: number;
  readonly #session: ZooKeeperSession;
  readonly #clock: Clock;
  readonly #is: SeatRecord;
  #timer: Timer;
  readonly #closed: Promise<void>;

  constructor({ session, tenure, clock }: SeatModules, record: SeatRecord) {
    this.tenure = tenure;
    this.term = record.term;
    this.#session = session;
    this.#clock = clock;
    this.#is = record;
    session.onEnd((reason) => tenure.end(reason));
    this.#timer = this.#askLater();
    // The session goes with the seat: the next candidate need not wait until it runs out.
    this.#closed = tenure.lost.then(() => {
      this.#timer.cancel();
      return session.close();
    });
  }

  get record(): LeaderRecord {
    return { term: this.#is.term, address: this.#is.address };
  }

  async write({ head, puts = [] }: FencedWrite): ReturnType<Seat['write']> {
    const operations: Operation[] = [];
    if (head !== undefined) {
      operations.push({
        kind: 'set',
        path: `${this.#is.root}/head`,
        data: Buffer.from(head.text),
        version: Number(head.fromVersion),
      });
    }
    for (const { name, bytes } of puts) {
      operations.push({ kind: 'create', path: `${this.#is.root}/${name}`, data: bytes });
    }
    const { failedAt, versions } = await this.#transact(operations);
    if (failedAt === null) {
      const version = head === undefined ? null : (versions[1] ?? null);
      return { isDone: true, version: version === null ? null : String(version) };
    }
    // Nobody else uses these names: an earlier attempt of this very call went through.
    if (head === undefined && failedAt.code === NODE_EXISTS) return { isDone: true, version: null };
    if (head !== undefined) return { isDone: false, version: null };
    throw this.#refused(failedAt);
  }

  async remove(names: readonly NodeName[]): Promise<void> {
    const left = names.map(
      (name): Operation => ({
        kind: 'remove',
        path: `${this.#is.root}/${name}`,
      }),
    );
    while (left.length > 0) {
      const { failedAt } = await this.#transact(left);
      if (failedAt === null) return;
      if (failedAt.code !== NO_NODE) throw this.#refused(failedAt);
      left.splice(failedAt.index - 1, 1);
    }
  }

  /** A head that was never written has version 0, which cannot be checked. */
  async prepareHead(): Promise<void> {
    const path = `${this.#is.root}/head`;
    const found = await this.#session.get(path);
    if (found === null || found.version > 0) return;
    await this.#transact([{ kind: 'set', path, data: found.data, version: null }]);
  }

  /** Whether the ensemble's majority says, now, that the seat is ours. Rejects with `unavailable` when it says nothing. */
  async isConfirmed(): Promise<boolean> {
    if (this.tenure.endReason !== null) return false;
    const sentAtMs = this.#clock.now();
    const { failedAt } = await this.#session.multi([
      this.#fence(),
      { kind: 'check', path: `${this.#is.root}/election/${this.#is.candidate}`, version: null },
    ]);
    if (failedAt !== null) {
      this.tenure.end(failedAt.index === 0 ? DEPOSED : 'Its place in the election was removed');
    } else {
      this.tenure.confirm(sentAtMs);
    }
    return this.tenure.endReason === null;
  }

  async leave(reason: string): Promise<void> {
    this.tenure.end(reason);
    await this.#closed;
  }

  /** Fenced; sent again until it is answered or the tenure is over. */
  async #transact(operations: readonly Operation[]): Promise<MultiResult> {
    const beganAtMs = this.#clock.now();
    for (;;) {
      this.tenure.assertHolds();
      const sentAtMs = this.#clock.now();
      try {
        const result = await this.#session.multi([this.#fence(), ...operations]);
        if (result.failedAt?.index === 0) {
          this.tenure.end(DEPOSED);
          this.tenure.assertHolds();
        }
        this.tenure.confirm(sentAtMs);
        return result;
      } catch (error) {
        if (!(error instanceof ZooKeeperError)) throw error;
        await new Promise<void>((resolve) => {
          this.#clock.after(RETRY_MS, resolve);
        });
        if (sentAtMs - beganAtMs > WRITE_PATIENCE_MS) this.tenure.end(describeError(error));
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

  #fence(): Operation {
    return { kind: 'check', path: `${this.#is.root}/leader`, version: this.#is.leaderVersion };
  }

  #askLater(): Timer {
    return this.#clock.after(this.#session.sessionMs / QUESTIONS, () => {
      // No answer: the tenure's own clock goes on, and ends it in time.
      void this.isConfirmed().catch(() => undefined);
      if (this.tenure.endReason === null) this.#timer = this.#askLater();
    });
  }

  #refused({ index, code }: { readonly index: number; readonly code: number }): StorageError {
    return new StorageError(
      'conflict',
      `ZooKeeper refused operation ${index} of a transaction below "${this.#is.root}" with code ${code}`,
      { index, code },
    );
  }
}

const DEPOSED = 'Another candidate has taken the seat';

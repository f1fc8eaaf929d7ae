/**
 * What the journal (journal-store.ts) needs from a coordination service, ZooKeeper or etcd: one seat that
 * a process holds by a session, one head that moves under it, and named nodes of limited size beside it.
 *
 * Every write is one transaction that the service refuses unless the seat is still this process's, so a
 * deposed leader changes nothing whatever it believes.
 */
import type { Candidate, LeaderRecord } from '../../shared/ports.ts';
import type { Tenure } from './tenure.ts';

/** One transaction's puts together, in bytes: ZooKeeper takes requests of 1 MiB, etcd of 1.5 MiB. */
export const TRANSACTION_BYTES_MAX = 512 * 1024;
/** One transaction's operations: etcd takes 128, and ours adds a few of its own. */
export const TRANSACTION_NODES_MAX = 100;

/** Folders of nodes below the store's path. */
export type Folder = 'log' | 'snapshots' | 'parts';

/** `folder/name`, name of letters, digits and dashes. */
export type NodeName = `${Folder}/${string}`;

export interface NodePut {
  readonly name: NodeName;
  readonly bytes: Buffer;
}

export interface HeadRecord {
  /** Empty: nothing was ever written. */
  readonly text: string;
  /** The service's own counter of changes of the head. */
  readonly version: string;
}

export interface FencedWrite {
  /** Moves the head, if it still has this version. */
  readonly head?: { readonly text: string; readonly fromVersion: string };
  /** Names that were never used before. */
  readonly puts?: readonly NodePut[];
}

export interface Seat {
  readonly tenure: Tenure;
  readonly term: number;
  /**
   * All or nothing. True with the head's new version (or null without a head); false when the head has
   * another version than expected. A lost connection is waited for, and the same sent again: what went
   * through the first time makes the second one answer false, and the caller reads the head. Rejects with
   * `conflict` when the seat is another's, `unavailable` when the session ends before an answer.
   */
  write(write: FencedWrite): Promise<{ readonly isDone: boolean; readonly version: string | null }>;
  /** Fenced as well; absent names are no error. At most TRANSACTION_NODES_MAX. */
  remove(names: readonly NodeName[]): Promise<void>;
  /** Gives the seat to the next candidate; the tenure is over afterwards in any case. */
  leave(reason: string): Promise<void>;
}

export interface Coordinator {
  /** For people: address and path, without secrets. */
  readonly name: string;
  /** Waits for the seat. Rejects with `unavailable` after `close`, `invalid-argument` when it is not allowed in. */
  takeSeat(candidate: Candidate): Promise<Seat>;
  /** Who holds the seat. With `seat`, the answer is the service's majority's at a moment after this call. */
  leader(seat: Seat | null): Promise<LeaderRecord | null>;
  readHead(): Promise<HeadRecord>;
  /** In the order of `names`; null for one that is not there. */
  read(names: readonly NodeName[]): Promise<readonly (Buffer | null)[]>;
  list(folder: Folder): Promise<readonly NodeName[]>;
  close(): Promise<void>;
}

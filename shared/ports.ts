/**
 * The outside world on one page. Everything below the adapters reaches clocks, networks, disks,
 * stores and randomness through these interfaces only; each has a real and a simulated
 * implementation, and both pass the same contract suite (test/contract).
 *
 * Ownership of bytes: a buffer belongs to whoever holds it last. Passing it to `send` or `write`
 * gives it away until the callback; what a handler receives is valid until the handler returns,
 * unless it says otherwise. Whoever keeps bytes longer copies them.
 */
import type { DataFrame } from './wire/data-protocol.ts';

// ── Time and chance ──────────────────────────────────────────────────────────────────────────

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds on a clock that never goes back; its zero means nothing. All logic uses this one. */
  now(): number;
  /** Milliseconds since 1970, for records that people read. Never compared, never subtracted. */
  wall(): number;
  /** Calls `action` once, at least `ms` from now, never before this call returns. */
  after(ms: number, action: () => void): Timer;
}

export interface Random {
  u32(): number;
  /** Half open: 0 to `limit` - 1. */
  below(limit: number): number;
  /** Version 4, in the usual text form. */
  uuid(): string;
}

// ── Network: the data protocol between gateways and replicas ─────────────────────────────────

export interface Connection {
  /** For people: `10.0.0.3:7401` or `local`. */
  readonly peer: string;
  /**
   * Queues a frame; frames of one tick leave in one write. Takes ownership of the frame's body
   * until `onSent` (when given) or for ever. Never throws: a closed connection drops it and says so
   * through `onClose`.
   */
  send(frame: DataFrame): void;
  /** Bytes queued and not yet taken by the system: the sender slows down above its own limit. */
  readonly queuedBytes: number;
  close(reason: string): void;
}

export interface ConnectionHandlers {
  /** The frame and its body are valid until this returns; `takeBody` keeps the body (data-protocol.ts). */
  onFrame(frame: DataFrame): void;
  /** Called exactly once, also after `close`, never from inside `send` or `connect`. */
  onClose(reason: string): void;
}

export interface Listener {
  /** `host:port` really bound. */
  readonly address: string;
  close(): void;
}

export interface Network {
  /**
   * Opens a connection. Frames may be sent at once; failure to connect comes as `onClose`.
   * `address` is `host:port`, or `local:NAME` for a listener in this process, which gets the very
   * same frames without bytes in between.
   */
  connect(address: string, handlers: ConnectionHandlers): Connection;
  /** `address` may have port 0. Errors (port in use) reject with a `StorageError`. */
  listen(
    address: string,
    accept: (connection: Connection) => ConnectionHandlers,
  ): Promise<Listener>;
}

// ── Disk: one directory on one local device ──────────────────────────────────────────────────

/** `null` for success. `code` as the system gives it: EIO, ENOSPC, EROFS, EDQUOT, … */
export interface DiskFailure {
  readonly code: string;
  readonly message: string;
}

/**
 * A file that is read and written at offsets. The `Sync` forms are for at most 64 KiB (they cost
 * microseconds on cached pages, see docs/architecture.md); they throw `DiskError`. What is written
 * survives the death of the process at once, and power loss after `sync`.
 */
export interface DiskFile {
  readSync(target: Uint8Array, offset: number): void;
  writeSync(source: Uint8Array, offset: number): void;
  /**
   * Reads only if no device has to be waited for; false, with `target` undefined, when it would
   * have to (or when that cannot be told): `read` then. Throws as `readSync` does.
   */
  readCached(target: Uint8Array, offset: number): boolean;
  /** A hint: the next `read` of the range shall come from the device. What is not synced stays cached. */
  dropCached?(offset: number, length: number): void;
  read(target: Uint8Array, offset: number, done: (failure: DiskFailure | null) => void): void;
  write(source: Uint8Array, offset: number, done: (failure: DiskFailure | null) => void): void;
  /** `fdatasync`: everything written before this call was made is durable when `done` reports success. */
  sync(done: (failure: DiskFailure | null) => void): void;
  /** Gives the range back to the file system; it reads as zeros. Off the caller's thread. */
  punch(offset: number, length: number, done: (failure: DiskFailure | null) => void): void;
  /** Length in bytes; reading past it gives zeros, writing past it extends. */
  size(): number;
  truncate(size: number): void;
  close(): void;
}

/** An ordered key-value index with atomic, durable transactions (real: LMDB). Keys and values are bytes. */
export interface DiskIndex {
  get(key: Uint8Array): Uint8Array | null;
  /** In key order, `from` included, `to` excluded; values are copies. */
  range(from: Uint8Array, to: Uint8Array): Iterable<{ key: Uint8Array; value: Uint8Array }>;
  /** One transaction: all or nothing, durable against power loss when `done` reports success. */
  commit(changes: readonly IndexChange[], done: (failure: DiskFailure | null) => void): void;
  close(): Promise<void>;
}

/** `value: null` deletes. */
export interface IndexChange {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

export interface Disk {
  /** For people: the directory's path. */
  readonly path: string;
  /**
   * Names may hold one level of folder (`slabs/0001.slab`). Creates when absent and `create`; the
   * name of a created file is durable when this returns.
   */
  open(name: string, options: { readonly create: boolean }): DiskFile;
  openIndex(name: string): DiskIndex;
  exists(name: string): boolean;
  /** Names below the directory, `folder/name` for one level; never `.` entries. */
  list(): readonly string[];
  /** Small files only (a superblock). */
  readFile(name: string): Uint8Array;
  /** Atomic and durable: afterwards the file is either the old or the new one, whatever happens. */
  writeFile(name: string, bytes: Uint8Array): void;
  /** After power loss the file may be there again. Absent files are no error. */
  remove(name: string): void;
  /** Of the file system that holds the directory. */
  space(): { readonly totalBytes: number; readonly freeBytes: number };
}

/** Thrown by the synchronous operations of `Disk` and `DiskFile`. */
export class DiskError extends Error implements DiskFailure {
  override readonly name = 'DiskError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

// ── Metadata store (DESIGN 8) ────────────────────────────────────────────────────────────────

export interface StoreEntry {
  readonly key: string;
  readonly value: string;
}

/** `value: null` deletes. */
export interface StoreChange {
  readonly key: string;
  readonly value: string | null;
}

export interface StoreSnapshot {
  readonly revision: number;
  readonly entries: readonly StoreEntry[];
}

/** What a leader tells others of itself. */
export interface LeaderRecord {
  readonly term: number;
  /** Base URL of its API, `http://host:port`. */
  readonly address: string;
}

/** Who wants to lead. */
export interface Candidate {
  /** Base URL of its API, `http://host:port`: what others read in the leader's record. */
  readonly address: string;
  /** The term shall also be higher than this one (that of a store which is lost); 0 when not given. */
  readonly aboveTerm?: number;
}

export interface Leadership {
  /** Higher than every earlier one of this store. */
  readonly term: number;
  /** Settles once, with the reason, as soon as this process can no longer count on leading. Never rejects. */
  readonly lost: Promise<string>;
}

/**
 * The manager's durable facts and who may change them. A commit is atomic, durable when the promise
 * resolves, and refused (`conflict`) unless the store is at `expectedRevision` and this process still
 * leads: a deposed leader's commits are refused for ever, also those under way.
 */
export interface MetadataStore {
  /**
   * Waits until this process leads. Rejects with `conflict` when it never can (it leads already, or the
   * store is for one scheduler and another has it), `unavailable` when the store is closed meanwhile.
   */
  campaign(candidate: Candidate): Promise<Leadership>;
  /**
   * Who leads now; null when nobody does. Also for those that do not lead. Never older than the moment it
   * was asked: for a manager, its own term here is the proof that it may still speak.
   */
  leader(): Promise<LeaderRecord | null>;
  /** A consistent snapshot. Also for those that do not lead. */
  load(): Promise<StoreSnapshot>;
  /**
   * Returns the new revision. Rejects with `conflict` when nothing was changed, `invalid-argument` when an
   * entry is larger than the store can hold, `unavailable` when the outcome could not be learnt: then
   * leadership is over too.
   */
  commit(changes: readonly StoreChange[], expectedRevision: number): Promise<number>;
  /** Leads no more; another may at once. */
  resign(): Promise<void>;
  /** Resigns and gives connections and files back. */
  close(): Promise<void>;
}

// ── Telemetry ────────────────────────────────────────────────────────────────────────────────

/** error = an operator must act, warn = soon, info = changes of state only, debug = requests. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug';

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** `message` is constant; everything that varies is a field. */
export type Log = (level: LogLevel, message: string, fields?: LogFields) => void;

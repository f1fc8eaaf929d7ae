/**
 * One session at a ZooKeeper ensemble, with deadlines. The library does the wire; this adds what it lacks:
 * every request has a deadline, a connection that does not answer is given up for the next server (the
 * library would wait for ever on a stopped one), and versions of 0 are refused, which the library takes
 * for "any version" in transactions.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import zookeeper, { type Client, type Stat, type Transaction } from 'node-zookeeper-client';
import { assert } from '../../shared/base/assert.ts';
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { Clock, Log, Timer } from '../../shared/ports.ts';

const { ACL, CreateMode, Exception, Id, Permission, State } = zookeeper;

export interface ZooKeeperAddress {
  /** `host:port` each. */
  readonly servers: readonly string[];
  /** `user:password` for the digest scheme; null for none. */
  readonly credentials: string | null;
}

export interface ZooKeeperModules {
  readonly clock: Clock;
  readonly log: Log;
}

/** What the library keeps to itself and we need: its connection, to give up one that is silent. */
interface LibraryConnection {
  socket?: { destroy(): void };
  connectTimeoutHandler: NodeJS.Timeout | null;
  pendingBuffer: Buffer | null;
}

export type Operation =
  /** Version null: any, the node only has to be there. */
  | { readonly kind: 'check'; readonly path: string; readonly version: number | null }
  | { readonly kind: 'create'; readonly path: string; readonly data: Buffer }
  | {
      readonly kind: 'set';
      readonly path: string;
      readonly data: Buffer;
      readonly version: number | null;
    }
  | { readonly kind: 'remove'; readonly path: string };

/** `failedAt`: which operation was refused, and how; null when all went through. */
export interface MultiResult {
  readonly failedAt: { readonly index: number; readonly code: number } | null;
  /** New version of each node that was set, by operation. */
  readonly versions: readonly (number | null)[];
}

/** Thrown by requests; `status` is ZooKeeper's code (−4 connection loss, −101 no node, …). */
export class ZooKeeperError extends StorageError {
  readonly status: number;

  constructor(status: number, message: string) {
    super('unavailable', message, { status });
    this.status = status;
  }
}

export const NO_NODE = Exception.NO_NODE;
export const NODE_EXISTS = Exception.NODE_EXISTS;
export const BAD_VERSION = Exception.BAD_VERSION;
const ANY_VERSION = -1;

export class ZooKeeperSession {
  readonly #address: ZooKeeperAddress;
  readonly #modules: ZooKeeperModules;
  readonly #sessionMs: number;
  readonly #client: Client;
  readonly #connection: LibraryConnection;
  /** When each request under way was sent. */
  readonly #pending = new Map<object, number>();
  /**
   * Requests that wait for a connection. In the library's own queue they would go before the credentials,
   * and some after their deadline.
   */
  readonly #waiting = new Set<() => void>();
  readonly #onEnd = new Set<(reason: string) => void>();
  #timer: Timer;
  #endReason: string | null = null;
  #isConnected = false;
  /** Since when the connection is not up, or was last given up. */
  #silentSinceMs: number;

  /** Servers are addresses (see `resolveServers`); connects at once. */
  constructor(
    address: ZooKeeperAddress,
    servers: readonly string[],
    sessionMs: number,
    modules: ZooKeeperModules,
  ) {
    this.#address = address;
    this.#modules = modules;
    this.#sessionMs = sessionMs;
    this.#silentSinceMs = modules.clock.now();
    this.#client = zookeeper.createClient(servers.join(','), {
      sessionTimeout: sessionMs,
      spinDelay: 500,
      retries: 0,
    });
    const inside = this.#client as unknown as { readonly connectionManager?: LibraryConnection };
    assert(inside.connectionManager !== undefined, 'the library keeps its connection there');
    this.#connection = inside.connectionManager;
    if (address.credentials !== null) {
      this.#client.addAuthInfo('digest', Buffer.from(address.credentials));
    }
    this.#client.on('state', (state) => this.#onState(state));
    this.#client.connect();
    this.#timer = this.#watch();
  }

  get #servers(): string {
    return this.#address.servers.join(',');
  }

  /** As the ensemble granted it, in milliseconds; known once a request was answered. */
  get sessionMs(): number {
    return this.#client.getSessionTimeout();
  }

  /** Why it is over for good; null while it may live. */
  get endReason(): string | null {
    return this.#endReason;
  }

  onEnd(listener: (reason: string) => void): void {
    this.#onEnd.add(listener);
  }

  exists(path: string, watcher?: () => void): Promise<Stat | null> {
    return this.#request(`look for "${path}"`, (done) => {
      if (watcher === undefined) this.#client.exists(path, done);
      else this.#client.exists(path, watcher, done);
    });
  }

  /** Null when there is no such node. */
  async get(path: string): Promise<{ readonly data: Buffer; readonly version: number } | null> {
    try {
      return await this.#request(`read "${path}"`, (done) =>
        this.#client.getData(path, (error, data, stat) =>
          // A node without data comes as undefined.
          done(error, error ? null : { data: data ?? Buffer.alloc(0), version: stat.version }),
        ),
      );
    } catch (error) {
      if (error instanceof ZooKeeperError && error.status === NO_NODE) return null;
      throw error;
    }
  }

  /** Null when there is no such node. */
  async children(path: string, watcher?: () => void): Promise<readonly string[] | null> {
    try {
      return await this.#request(`list "${path}"`, (done) => {
        if (watcher === undefined) this.#client.getChildren(path, done);
        else this.#client.getChildren(path, watcher, done);
      });
    } catch (error) {
      if (error instanceof ZooKeeperError && error.status === NO_NODE) return null;
      throw error;
    }
  }

  /** The path with its sequence number. It vanishes with this session. */
  createEphemeral(path: string, data: Buffer): Promise<string> {
    return this.#request(`create "${path}"`, (done) =>
      this.#client.create(path, data, this.#acl(), CreateMode.EPHEMERAL_SEQUENTIAL, done),
    );
  }

  /** Creates the node and those above it; that some exist is no error. */
  async ensure(path: string): Promise<void> {
    for (let cut = path.indexOf('/', 1); ; cut = path.indexOf('/', cut + 1)) {
      const isLast = cut < 0;
      const part = isLast ? path : path.slice(0, cut);
      try {
        await this.#request(`create "${part}"`, (done) =>
          this.#client.create(part, this.#acl(isLast), CreateMode.PERSISTENT, done),
        );
      } catch (error) {
        if (!(error instanceof ZooKeeperError) || error.status !== NODE_EXISTS) {
          // What is above may be another's, which we cannot write to, and need not when it exists.
          if (isLast || (await this.exists(part)) === null) throw error;
        }
      }
      if (isLast) return;
    }
  }

  /** All or nothing. Rejects only when the outcome is not known, or nothing was even looked at. */
  multi(operations: readonly Operation[]): Promise<MultiResult> {
    const transaction = this.#client.transaction();
    for (const operation of operations) this.#addTo(transaction, operation);
    return this.#request('commit a transaction', (done) =>
      transaction.commit((error: ErrorLike | null, results: unknown) => {
        if (Array.isArray(results)) done(null, readResults(results));
        else done(error ?? { name: 'no answer' }, NOTHING);
      }),
    );
  }

  /** Ends the session at the ensemble too, if it can still be told. */
  async close(): Promise<void> {
    if (this.#endReason === null) {
      this.#end('It was closed');
      this.#client.close();
    }
    // The farewell gets a moment; then the connection goes, and the session runs out by itself.
    await new Promise<void>((resolve) => {
      const timer = this.#modules.clock.after(500, resolve);
      this.#client.once('disconnected', () => {
        timer.cancel();
        resolve();
      });
      if (!this.#isConnected) {
        timer.cancel();
        resolve();
      }
    });
    this.#dropConnection();
  }

  // ── Inside ─────────────────────────────────────────────────────────────────────────────────

  /** Our nodes are nobody else's when we have credentials; parents may hold others' nodes beside ours. */
  #acl(isOurs = true): InstanceType<typeof ACL>[] {
    if (this.#address.credentials === null) {
      return [new ACL(Permission.ALL, new Id('world', 'anyone'))];
    }
    const own = new ACL(Permission.ALL, new Id('auth', ''));
    if (isOurs) return [own];
    return [own, new ACL(Permission.READ | Permission.CREATE, new Id('world', 'anyone'))];
  }

  #addTo(transaction: Transaction, operation: Operation): void {
    switch (operation.kind) {
      case 'check':
        assert(operation.version !== 0, 'version 0 cannot be checked', { path: operation.path });
        transaction.check(operation.path, operation.version ?? ANY_VERSION);
        break;
      case 'create':
        transaction.create(operation.path, operation.data, this.#acl(), CreateMode.PERSISTENT);
        break;
      case 'set':
        assert(operation.version !== 0, 'version 0 cannot be checked', { path: operation.path });
        transaction.setData(operation.path, operation.data, operation.version ?? ANY_VERSION);
        break;
      case 'remove':
        transaction.remove(operation.path, ANY_VERSION);
        break;
    }
  }

  #request<T>(
    what: string,
    send: (done: (error: ErrorLike | null, value: T) => void) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#endReason !== null) {
        reject(new ZooKeeperError(Exception.SESSION_EXPIRED, this.#endReason));
        return;
      }
      const entry = {};
      const settle = (action: () => void): void => {
        this.#pending.delete(entry);
        this.#waiting.delete(begin);
        timer.cancel();
        action();
      };
      const timer = this.#modules.clock.after(this.#sessionMs, () =>
        settle(() => {
          const problem = `Could not ${what} at ZooKeeper ${this.#servers}: no answer within ${this.#sessionMs} ms`;
          reject(new ZooKeeperError(Exception.OPERATION_TIMEOUT, problem));
        }),
      );
      const begin = (): void => {
        this.#pending.set(entry, this.#modules.clock.now());
        send((error, value) =>
          settle(() => {
            if (error === null || error === undefined) resolve(value);
            else reject(this.#failure(what, error));
          }),
        );
      };
      if (this.#isConnected) begin();
      else this.#waiting.add(begin);
    });
  }

  #failure(what: string, error: ErrorLike): Error {
    const code = error.code ?? Exception.SYSTEM_ERROR;
    const text = `Could not ${what} at ZooKeeper ${this.#servers}: ${error.name} (${code})`;
    if (code === Exception.NO_AUTH || code === Exception.AUTH_FAILED) {
      return new StorageError(
        'invalid-argument',
        `${text}; the credentials in the address do not allow it`,
        { code },
      );
    }
    return new ZooKeeperError(code, text);
  }

  #onState(state: unknown): void {
    const { clock, log } = this.#modules;
    this.#isConnected = state === State.SYNC_CONNECTED;
    this.#silentSinceMs = clock.now();
    if (state === State.DISCONNECTED) {
      // Half an answer of the old connection must not stand before the new one's.
      this.#connection.pendingBuffer = null;
      if (this.#endReason === null) {
        log('info', 'Connection to ZooKeeper is lost, connecting again', {
          servers: this.#servers,
        });
      }
    }
    if (this.#isConnected) {
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      for (const begin of waiting) begin();
    }
    if (state === State.EXPIRED) this.#end('Its session at ZooKeeper has expired');
    if (state === State.AUTH_FAILED) this.#end('ZooKeeper refuses the credentials');
  }

  #end(reason: string): void {
    if (this.#endReason !== null) return;
    this.#endReason = reason;
    this.#timer.cancel();
    for (const listener of this.#onEnd) listener(reason);
  }

  /** A third of the session without an answer: another server may do better. */
  #watch(): Timer {
    const { clock } = this.#modules;
    return clock.after(this.#sessionMs / 6, () => {
      if (this.#endReason !== null) return;
      const nowMs = clock.now();
      const waitMs = this.#sessionMs / 3;
      let oldestMs = this.#isConnected ? nowMs : this.#silentSinceMs;
      if (this.#isConnected) {
        for (const sentMs of this.#pending.values()) {
          oldestMs = Math.min(oldestMs, Math.max(sentMs, this.#silentSinceMs));
        }
        // The library's own pings are not told to us: this asks in their stead.
        if (this.#pending.size === 0) void this.exists('/').catch(() => undefined);
      }
      if (nowMs - oldestMs > waitMs) {
        this.#silentSinceMs = nowMs;
        this.#dropConnection();
      }
      this.#timer = this.#watch();
    });
  }

  #dropConnection(): void {
    const { connectTimeoutHandler, socket } = this.#connection;
    // Else it would fire later, and hit the next connection.
    if (connectTimeoutHandler !== null) clearTimeout(connectTimeoutHandler);
    socket?.destroy();
  }
}

/** Beside an error nobody looks at it. */
const NOTHING: MultiResult = { failedAt: null, versions: [] };

interface ErrorLike {
  readonly name: string;
  readonly code?: number;
}

function readResults(results: readonly unknown[]): MultiResult {
  let failedAt: MultiResult['failedAt'] = null;
  const versions = results.map((result, index) => {
    const { err, stat } = result as { readonly err?: number; readonly stat?: Stat };
    if (typeof err === 'number' && err !== 0 && failedAt === null) failedAt = { index, code: err };
    return stat?.version ?? null;
  });
  return { failedAt, versions };
}

/** Names → addresses: the library knows no IPv6 in brackets, and looks names up only once per connection. */
export async function resolveServers(servers: readonly string[]): Promise<readonly string[]> {
  const resolved: string[] = [];
  const problems: string[] = [];
  for (const server of servers) {
    const cut = server.lastIndexOf(':');
    const host = server.slice(0, cut);
    try {
      const { address } = isIP(host) === 4 ? { address: host } : await lookup(host, { family: 4 });
      resolved.push(`${address}${server.slice(cut)}`);
    } catch (error) {
      problems.push(`"${host}": ${describeError(error)}`);
    }
  }
  if (resolved.length === 0) {
    throw new StorageError(
      'unavailable',
      `No ZooKeeper server of ${servers.join(',')} has an address: ${problems.join('; ')}`,
    );
  }
  return resolved;
}

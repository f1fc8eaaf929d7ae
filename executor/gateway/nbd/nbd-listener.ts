/**
 * Sockets for the NBD server: listens on unix sockets (one volume each) and TCP ports (all volumes,
 * by export name), moves bytes between sockets and sessions, and sets the deadlines. An adapter:
 * what the bytes mean is none of its business.
 */
import { chmod, lstat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { describeError, StorageError } from '../../../shared/base/errors.ts';
import {
  chooseReceiveMode,
  type ReceiveMode,
  type Receiver,
  receiveInto,
} from '../../../shared/node/socket-receive.ts';
import type { Log } from '../../../shared/ports.ts';
import { BufferPool } from '../buffer-pool.ts';
import type { NbdExport, NbdExports } from './nbd-handshake.ts';
import type { NbdBatch } from './nbd-output.ts';
import { NbdSession, type NbdTransport } from './nbd-session.ts';

export type NbdAddress =
  /** Serves the volume `export` alone, also under the empty name. */
  | { readonly path: string; readonly export: string }
  /** Serves all exports. Port 0 takes a free one. */
  | { readonly host: string; readonly port: number };

export interface NbdEndpoint {
  /** The path, or `host:port` as really bound. */
  readonly address: string;
  /** For libnbd and qemu: `nbd+unix:///?socket=…` or `nbd://host:port/`. */
  readonly uri: string;
  /** Accepts no more clients; those that are connected stay. Removes the socket file. */
  close(): Promise<void>;
}

export interface NbdListenerOptions {
  readonly log: Log;
  /** Shared with the devices, reads need no allocation at all (see `BlockRequest.data`). */
  readonly pool?: BufferPool;
  /** Default: what works here, tried out at the first `listen`. */
  readonly receiveMode?: ReceiveMode;
  readonly handshakeTimeoutMs?: number;
}

/** A client greets, asks and chooses in a few round trips; ten seconds forgive a slow network. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** How long a client may take to read its last replies before it is cut off. */
const END_TIMEOUT_MS = 2_000;
/**
 * Bounds memory (64 MiB each at worst); a node attaches a few volumes with a few connections each.
 */
const CLIENTS_MAX = 256;
/** Finds clients whose host has vanished. */
const KEEPALIVE_MS = 30_000;
/** `sun_path` has 108 bytes with its terminating zero. */
const SOCKET_PATH_BYTES_MAX = 107;
/** Whoever may open the socket may read and write the volume. */
const SOCKET_MODE = 0o600;

export class NbdListener {
  readonly #exports: NbdExports;
  readonly #log: Log;
  readonly #pool: BufferPool;
  readonly #handshakeTimeoutMs: number;
  readonly #clients = new Set<NbdClient>();
  readonly #servers = new Set<Server>();
  #receiveMode: ReceiveMode | null;
  #isClosed = false;

  constructor(exports: NbdExports, options: NbdListenerOptions) {
    this.#exports = exports;
    this.#log = options.log;
    this.#pool = options.pool ?? new BufferPool();
    this.#receiveMode = options.receiveMode ?? null;
    this.#handshakeTimeoutMs = options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS;
  }

  /**
   * Rejects with `StorageError`: `conflict` when another process serves the path, `unavailable`
   * when the port is in use or the system refuses, `invalid-argument` for a path that cannot be a
   * socket.
   */
  async listen(address: NbdAddress): Promise<NbdEndpoint> {
    this.#receiveMode ??= await this.#chooseReceiveMode();
    const exports = 'path' in address ? onlyExport(this.#exports, address.export) : this.#exports;
    if ('path' in address) await removeStaleSocket(address.path);
    const server = createServer({ pauseOnConnect: true });
    server.on('connection', (socket) => this.#accept(socket, exports));
    await bind(server, address);
    if (this.#isClosed) {
      await closeServer(server);
      throw new StorageError('unavailable', `Listening on ${nameOf(address)}: server is closed`);
    }
    this.#servers.add(server);
    server.on('error', (error) => {
      this.#log('warn', 'NBD socket failed to accept', { error: error.message });
    });
    if ('path' in address) await chmod(address.path, SOCKET_MODE);
    return this.#describe(server, address);
  }

  /** Clients that have chosen this export. */
  clientCount(exportName: string): number {
    return this.#clientsOf(exportName).length;
  }

  /**
   * Disconnects all clients of an export: their requests in flight are answered with ESHUTDOWN.
   * Resolves when they are gone. The caller has made sure that `exports` finds it no more.
   */
  async closeExport(exportName: string, reason: string): Promise<void> {
    await Promise.all(this.#clientsOf(exportName).map((client) => client.close(reason)));
  }

  /** Stops listening and disconnects everybody. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const servers = [...this.#servers];
    this.#servers.clear();
    const clients = [...this.#clients].map((client) => client.close('Server is closing'));
    await Promise.all([...servers.map(closeServer), ...clients]);
  }

  /**
   * Stops listening and breaks every connection, without an answer to what is in flight: this process ends,
   * and another one will serve the same volumes. For a client that connects again that is a pause; an
   * answer, whichever, would be an error.
   */
  async abandon(): Promise<void> {
    this.#isClosed = true;
    const servers = [...this.#servers];
    this.#servers.clear();
    const clients = [...this.#clients].map((client) => client.abandon('Server is restarting'));
    await Promise.all([...servers.map(closeServer), ...clients]);
  }

  async #chooseReceiveMode(): Promise<ReceiveMode> {
    const mode = await chooseReceiveMode();
    if (mode === 'data') this.#log('warn', 'Fast socket receive is not available on this Node');
    return mode;
  }

  #clientsOf(exportName: string): NbdClient[] {
    return [...this.#clients].filter((client) => client.exportName === exportName);
  }

  #accept(accepted: Socket, exports: NbdExports): void {
    if (this.#clients.size >= CLIENTS_MAX || this.#isClosed) {
      this.#log('warn', 'NBD client refused, too many connections', { limit: CLIENTS_MAX });
      accepted.destroy();
      return;
    }
    const client = new NbdClient(accepted, {
      exports,
      pool: this.#pool,
      log: this.#log,
      receiveMode: this.#receiveMode ?? 'data',
      handshakeTimeoutMs: this.#handshakeTimeoutMs,
      onGone: () => this.#clients.delete(client),
    });
    this.#clients.add(client);
    client.open();
  }

  #describe(server: Server, address: NbdAddress): NbdEndpoint {
    const close = async (): Promise<void> => {
      this.#servers.delete(server);
      await closeServer(server);
    };
    if ('path' in address) {
      const uri = `nbd+unix:///?socket=${encodeURIComponent(address.path).replaceAll('%2F', '/')}`;
      return { address: address.path, uri, close };
    }
    const bound = server.address();
    const port = bound !== null && typeof bound === 'object' ? bound.port : address.port;
    const host = address.host.includes(':') ? `[${address.host}]` : address.host;
    return { address: `${host}:${port}`, uri: `nbd://${host}:${port}/`, close };
  }
}

interface NbdClientOptions {
  readonly exports: NbdExports;
  readonly pool: BufferPool;
  readonly log: Log;
  readonly receiveMode: ReceiveMode;
  readonly handshakeTimeoutMs: number;
  readonly onGone: () => void;
}

/** One connection: a socket and its session. */
class NbdClient implements NbdTransport {
  readonly #session: NbdSession;
  readonly #receiver: Receiver;
  readonly #socket: Socket;
  readonly #log: Log;
  readonly #peer: string;
  readonly #gone: Promise<void>;
  /** Batches given to the socket, oldest first; it confirms them in this order. */
  readonly #sending: NbdBatch[] = [];
  #deadline: NodeJS.Timeout;
  #endReason: string | null = null;
  // Made once: the hot path passes them for every batch and turn.
  readonly #onWritten = (): void => {
    const batch = this.#sending.shift();
    if (batch !== undefined) this.#session.sent(batch);
  };
  readonly #onTurn = (): void => this.#session.turn();

  constructor(accepted: Socket, options: NbdClientOptions) {
    this.#log = options.log;
    this.#session = new NbdSession(options.exports, this, options.pool);
    this.#receiver = receiveInto(accepted, this.#session, options.receiveMode);
    this.#socket = this.#receiver.socket;
    this.#peer =
      this.#socket.remoteAddress === undefined
        ? 'local'
        : `${this.#socket.remoteAddress}:${this.#socket.remotePort ?? 0}`;
    this.#socket.setNoDelay(true);
    this.#socket.setKeepAlive(true, KEEPALIVE_MS);
    this.#socket.on('error', (error) => {
      this.#endReason ??= error.message;
    });
    this.#deadline = setTimeout(
      () => this.#cutOff(`No export chosen within ${options.handshakeTimeoutMs} ms`),
      options.handshakeTimeoutMs,
    );
    this.#gone = new Promise((resolve) => {
      this.#socket.on('close', () => {
        clearTimeout(this.#deadline);
        this.#session.closed();
        this.#log('info', 'NBD client left', {
          export: this.exportName,
          peer: this.#peer,
          reason: this.#endReason ?? 'Connection closed by the client',
        });
        options.onGone();
        resolve();
      });
    });
  }

  /** Null until the client has chosen. */
  get exportName(): string | null {
    return this.#session.export?.name ?? null;
  }

  open(): void {
    this.#session.open();
  }

  /** Resolves when the connection is gone. */
  async close(reason: string): Promise<void> {
    this.#session.shutdown(reason);
    await this.#gone;
  }

  /** The same, but nothing that is in flight gets an answer. */
  async abandon(reason: string): Promise<void> {
    this.#cutOff(reason);
    await this.#gone;
  }

  // ── NbdTransport ───────────────────────────────────────────────────────────────────────────

  send(batch: NbdBatch): void {
    const { pieces } = batch;
    const last = pieces.length - 1;
    this.#sending.push(batch);
    if (last > 0) this.#socket.cork();
    pieces.forEach((piece, index) => {
      if (index === last) this.#socket.write(piece, this.#onWritten);
      else this.#socket.write(piece);
    });
    if (last > 0) this.#socket.uncork();
  }

  requestTurn(): void {
    // Behind all that this turn of the loop received: the answers of several replicas leave together.
    setImmediate(this.#onTurn);
  }

  resume(): void {
    this.#receiver.resume();
  }

  opened(chosen: NbdExport): void {
    clearTimeout(this.#deadline);
    this.#log('info', 'NBD client opened an export', { export: chosen.name, peer: this.#peer });
  }

  end(reason: string): void {
    this.#endReason ??= reason;
    this.#socket.end();
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#socket.destroy(), END_TIMEOUT_MS);
  }

  #cutOff(reason: string): void {
    this.#endReason ??= reason;
    this.#socket.destroy();
  }
}

/** The one export, under its own name and the empty one. */
function onlyExport(exports: NbdExports, name: string): NbdExports {
  return {
    find: (asked) => (asked === '' || asked === name ? exports.find(name) : null),
    list: () => exports.list().filter((entry) => entry.name === name),
  };
}

function nameOf(address: NbdAddress): string {
  return 'path' in address ? `"${address.path}"` : `${address.host}:${address.port}`;
}

function bind(server: Server, address: NbdAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => {
      const code = codeOf(error);
      const reason = code === 'EADDRINUSE' ? 'address already in use' : error.message;
      reject(
        new StorageError(
          'unavailable',
          `Listening for NBD clients on ${nameOf(address)} failed: ${reason}`,
          { address: nameOf(address), code },
          error,
        ),
      );
    };
    server.once('error', onError);
    server.listen('path' in address ? { path: address.path } : address, () => {
      server.off('error', onError);
      resolve();
    });
  });
}

/** Stops listening, at once; does not wait for those who are connected, as the server's own would. */
async function closeServer(server: Server): Promise<void> {
  server.close();
  await new Promise(setImmediate);
}

/** Removes a socket file that nobody listens on; refuses to touch anything else. */
async function removeStaleSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    throw new StorageError(
      'invalid-argument',
      `Socket path "${path}" has ${Buffer.byteLength(path)} bytes, ` +
        `allowed are ${SOCKET_PATH_BYTES_MAX}`,
      { path },
    );
  }
  try {
    const found = await lstat(path);
    if (!found.isSocket()) {
      throw new StorageError(
        'invalid-argument',
        `Listening on "${path}": a file that is no socket is in the way`,
        { path },
      );
    }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error instanceof StorageError ? error : cannotCheck(path, error);
  }
  if (await isServed(path)) {
    throw new StorageError(
      'conflict',
      `Listening on "${path}": another process serves this socket`,
      { path },
    );
  }
  try {
    await unlink(path);
  } catch (error) {
    // Its last owner may have removed it just now.
    if (codeOf(error) !== 'ENOENT') throw cannotCheck(path, error);
  }
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error) => {
      const code = codeOf(error);
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false);
      else reject(cannotCheck(path, error));
    });
  });
}

function cannotCheck(path: string, error: unknown): StorageError {
  return new StorageError(
    'unavailable',
    `Checking the socket "${path}" failed: ${describeError(error)}`,
    { path },
    error,
  );
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

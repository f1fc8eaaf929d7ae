/**
 * The data protocol over TCP. Frames sent in one turn of the loop are put together in one pooled buffer
 * and leave in one write; bodies above 64 KiB go by reference. Received bytes land in the decoder's own memory
 * (socket-receive.ts). It neither reconnects nor pings: that is the business of whoever holds the
 * connection, which the simulator runs too.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { assert } from '../base/assert.ts';
import { describeError, StorageError } from '../base/errors.ts';
import type { Connection, ConnectionHandlers, Listener, Network } from '../ports.ts';
import {
  bodyBytesOf,
  encodeHeader,
  FrameDecoder,
  SMALL_BODY_BYTES_MAX,
} from '../wire/data-codec.ts';
import { DATA_HEADER_BYTES, type DataFrame } from '../wire/data-protocol.ts';
import {
  connectInto,
  type ReceiveMode,
  type Receiver,
  type ReceiveSink,
  receiveInto,
} from './socket-receive.ts';

/** A machine that does not answer a connect within this time is tried again by the caller. */
const CONNECT_DEADLINE_MS = 3_000;
/** Holds three frames of the largest copied size; a small tick touches its first pages only. */
const CHUNK_BYTES = 256 * 1024;
/** Spent chunks kept for reuse: 16 MiB, what a few dozen busy connections have in flight. */
const POOLED_CHUNKS_MAX = 64;

interface Chunk {
  readonly bytes: Buffer;
  readonly view: DataView;
}

class ChunkPool {
  readonly #free: Chunk[] = [];

  take(): Chunk {
    const chunk = this.#free.pop();
    if (chunk !== undefined) return chunk;
    const bytes = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) };
  }

  give(chunk: Chunk): void {
    if (this.#free.length < POOLED_CHUNKS_MAX) this.#free.push(chunk);
  }
}

export class TcpNetwork implements Network {
  readonly #mode: ReceiveMode;
  readonly #pool = new ChunkPool();

  /** `mode`: what `chooseReceiveMode` found out at start-up. */
  constructor(mode: ReceiveMode) {
    this.#mode = mode;
  }

  connect(address: string, handlers: ConnectionHandlers): Connection {
    const connection = new TcpConnection(address, this.#pool);
    connection.handlers = handlers;
    const place = splitAddress(address);
    if (place === null) {
      connection.refuse(addressError(address).message);
      return connection;
    }
    connection.attach(connectInto({ ...place, noDelay: true }, connection, this.#mode));
    connection.setConnectDeadline(CONNECT_DEADLINE_MS);
    return connection;
  }

  listen(
    address: string,
    accept: (connection: Connection) => ConnectionHandlers,
  ): Promise<Listener> {
    const place = splitAddress(address);
    if (place === null) return Promise.reject(addressError(address));
    const { host, port } = place;
    const open = new Set<TcpConnection>();
    const server = createServer({ pauseOnConnect: true, noDelay: true });
    server.on('connection', (accepted) => {
      const peer = `${accepted.remoteAddress ?? '?'}:${accepted.remotePort ?? 0}`;
      const connection = new TcpConnection(peer, this.#pool);
      open.add(connection);
      connection.onEnded = () => open.delete(connection);
      connection.handlers = accept(connection);
      connection.attach(receiveInto(accepted, connection, this.#mode));
    });
    return new Promise((resolve, reject) => {
      server.once('error', (error) => reject(listenError(address, error)));
      server.listen(port, host, () => {
        resolve({
          address: boundAddress(server, host),
          close: () => {
            server.close();
            for (const connection of [...open]) connection.close('The listener was closed');
          },
        });
      });
    });
  }
}

class TcpConnection implements Connection, ReceiveSink {
  readonly peer: string;
  handlers: ConnectionHandlers | null = null;
  onEnded: (() => void) | null = null;
  readonly #pool: ChunkPool;
  readonly #decoder: FrameDecoder;
  readonly #flush = (): void => this.#flushBatch();
  readonly #onWritten = (): void => this.#recycle();
  #socket: Socket | null = null;
  #deadline: NodeJS.Timeout | null = null;
  /** The chunk being filled, and the part of it that is not yet in `#segments`. */
  #chunk: Chunk | null = null;
  #sealed = 0;
  #used = 0;
  /** What leaves with the next flush, before the open part of the chunk. */
  #segments: Uint8Array[] = [];
  #segmentBytes = 0;
  /** Full chunks of the batch being assembled. */
  #spent: Chunk[] = [];
  /** Chunks of each write under way, oldest first: they go back to the pool when it is done. */
  readonly #writing: Chunk[][] = [];
  #isFlushScheduled = false;
  #isClosed = false;
  #reason: string | null = null;

  constructor(peer: string, pool: ChunkPool) {
    this.peer = peer;
    this.#pool = pool;
    this.#decoder = new FrameDecoder((frame) => this.handlers?.onFrame(frame));
  }

  attach(receiver: Receiver): void {
    const socket = receiver.socket;
    this.#socket = socket;
    socket.setNoDelay(true);
    // Notices a dead peer of an idle connection even when nobody pings; Linux: 1 s steps, ten of them.
    socket.setKeepAlive(true, 1_000);
    socket.on('error', (error) => this.#end(describeError(error)));
    socket.on('end', () => this.#end('The other side closed the connection'));
    socket.on('close', () => this.#onSocketClose());
    if (this.#isClosed) socket.destroy();
  }

  /** Ends a connection that never got a socket. */
  refuse(reason: string): void {
    process.nextTick(() => {
      this.#end(reason);
      this.#onSocketClose();
    });
  }

  setConnectDeadline(ms: number): void {
    const deadline = setTimeout(() => this.#end(`No connection within ${ms} ms`), ms);
    this.#deadline = deadline;
    this.#socket?.once('connect', () => clearTimeout(deadline));
  }

  get queuedBytes(): number {
    const socketBytes = this.#socket === null ? 0 : this.#socket.writableLength;
    return socketBytes + this.#segmentBytes + this.#used - this.#sealed;
  }

  send(frame: DataFrame): void {
    if (this.#isClosed) return;
    const bodyBytes = bodyBytesOf(frame);
    const isSmall = bodyBytes <= SMALL_BODY_BYTES_MAX;
    const checksumBytes = frame.checksums === null ? 0 : frame.checksums.length;
    const copied = DATA_HEADER_BYTES + (isSmall ? bodyBytes : checksumBytes);
    const chunk = this.#chunkWith(copied);
    encodeHeader(frame, chunk.view, this.#used);
    let at = this.#used + DATA_HEADER_BYTES;
    if (frame.checksums !== null) {
      chunk.bytes.set(frame.checksums, at);
      at += checksumBytes;
    }
    if (frame.data !== null && isSmall) {
      chunk.bytes.set(frame.data, at);
      at += frame.data.length;
    }
    this.#used = at;
    if (frame.data !== null && !isSmall) {
      this.#seal();
      this.#segments.push(frame.data);
      this.#segmentBytes += frame.data.length;
    }
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    // Behind all that this turn of the loop received, from whichever socket: one write for all of it.
    setImmediate(this.#flush);
  }

  close(reason: string): void {
    this.#end(reason);
  }

  target(): Uint8Array {
    return this.#decoder.target();
  }

  received(count: number): boolean {
    if (this.#isClosed) return true;
    const refusal = this.#decoder.received(count);
    if (refusal !== null) this.#end(refusal);
    return true;
  }

  #chunkWith(bytes: number): Chunk {
    const chunk = this.#chunk;
    if (chunk !== null && this.#used + bytes <= CHUNK_BYTES) return chunk;
    this.#finishChunk();
    const fresh = this.#pool.take();
    this.#chunk = fresh;
    return fresh;
  }

  /** Makes a segment of what was written into the chunk since the last one. */
  #seal(): void {
    if (this.#chunk === null || this.#used === this.#sealed) return;
    const segment = this.#chunk.bytes.subarray(this.#sealed, this.#used);
    this.#segments.push(segment);
    this.#segmentBytes += segment.length;
    this.#sealed = this.#used;
  }

  #finishChunk(): void {
    if (this.#chunk === null) return;
    this.#seal();
    this.#spent.push(this.#chunk);
    this.#chunk = null;
    this.#used = 0;
    this.#sealed = 0;
  }

  #flushBatch(): void {
    this.#isFlushScheduled = false;
    const socket = this.#socket;
    if (this.#isClosed || socket === null) return;
    this.#finishChunk();
    const segments = this.#segments;
    const last = segments.length - 1;
    this.#writing.push(this.#spent);
    this.#spent = [];
    this.#segments = [];
    this.#segmentBytes = 0;
    if (last === 0) {
      socket.write(segments[0] as Uint8Array, this.#onWritten);
      return;
    }
    socket.cork();
    for (let index = 0; index < last; index += 1) socket.write(segments[index] as Uint8Array);
    socket.write(segments[last] as Uint8Array, this.#onWritten);
    socket.uncork();
  }

  #recycle(): void {
    const chunks = this.#writing.shift();
    if (chunks === undefined) return;
    // After an error the system may still hold the memory: let the collector have it.
    if (this.#isClosed) return;
    for (const chunk of chunks) this.#pool.give(chunk);
  }

  #end(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#reason = reason;
    this.#decoder.stop();
    this.#segments = [];
    this.#segmentBytes = 0;
    if (this.#deadline !== null) clearTimeout(this.#deadline);
    this.#socket?.destroy();
  }

  #onSocketClose(): void {
    this.#end('The connection was closed');
    this.onEnded?.();
    assert(this.#reason !== null, 'a connection closes once');
    const reason = this.#reason;
    this.#reason = null;
    this.handlers?.onClose(reason);
  }
}

function splitAddress(address: string): { host: string; port: number } | null {
  const colon = address.lastIndexOf(':');
  const port = Number(address.slice(colon + 1));
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  if (colon <= 0 || !Number.isInteger(port) || port < 0 || port > 65535) return null;
  return { host, port };
}

function addressError(address: string): StorageError {
  return new StorageError('invalid-argument', `Address is "${address}", expected "host:port"`);
}

function boundAddress(server: Server, host: string): string {
  const bound = server.address();
  assert(bound !== null && typeof bound === 'object', 'a listening server has an address');
  return `${host.includes(':') ? `[${host}]` : host}:${bound.port}`;
}

function listenError(address: string, error: unknown): StorageError {
  return new StorageError(
    'unavailable',
    `Listen on "${address}" failed: ${describeError(error)}`,
    { address },
    error,
  );
}

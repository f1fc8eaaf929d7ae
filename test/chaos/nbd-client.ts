/**
 * One NBD connection, the client's side: fixed newstyle, simple replies, any number of requests in flight.
 * It ends with the first error of the stream; connecting again is its user's business.
 */
import { connect, type Socket } from 'node:net';
import { StorageError } from '../../shared/base/errors.ts';
import {
  CLIENT_FLAGS_BYTES,
  COMMAND,
  GREETING_BYTES,
  HANDSHAKE_FLAG,
  INFO,
  NBD_MAGIC_HIGH,
  NBD_MAGIC_LOW,
  OPTION,
  OPTION_HEADER_BYTES,
  OPTION_MAGIC_HIGH,
  OPTION_MAGIC_LOW,
  OPTION_REPLY,
  OPTION_REPLY_HEADER_BYTES,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  writeU64,
} from '../../shared/wire/nbd.ts';

const CONNECT_DEADLINE_MS = 5_000;

/** `error` is NBD's number, 0 when all is well; `data` only for a read. */
export interface NbdAnswer {
  readonly error: number;
  readonly data: Buffer | null;
}

interface Pending {
  readonly readBytes: number;
  readonly resolve: (answer: NbdAnswer) => void;
  readonly reject: (error: Error) => void;
}

export class NbdClient {
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  #input: Buffer = Buffer.alloc(0);
  #isNegotiated = false;
  #isAbandoned = false;
  /** Wakes the handshake when there is more, or nothing more to come. */
  #wake: () => void = () => undefined;
  #sizeBytes = 0;
  #nextCookie = 1;
  #failure: Error | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () =>
      this.#fail(new StorageError('unavailable', 'The server closed the connection')),
    );
  }

  /** `nbd+unix:///NAME?socket=PATH` or `nbd://HOST:PORT/NAME`. Throws `unavailable`. */
  static async open(uri: string): Promise<NbdClient> {
    const url = new URL(uri);
    const path = url.searchParams.get('socket');
    const socket =
      path === null
        ? connect({ host: url.hostname, port: Number(url.port), noDelay: true })
        : connect(path);
    const client = new NbdClient(socket);
    const deadline = setTimeout(
      () => socket.destroy(new StorageError('timeout', `No NBD handshake with ${uri} in time`)),
      CONNECT_DEADLINE_MS,
    );
    try {
      await client.#handshake(decodeURIComponent(url.pathname.slice(1)));
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(deadline);
    }
    return client;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get isOpen(): boolean {
    return this.#failure === null;
  }

  read(offset: number, length: number): Promise<NbdAnswer> {
    return this.#request(COMMAND.read, offset, length, null);
  }

  write(offset: number, data: Buffer): Promise<NbdAnswer> {
    return this.#request(COMMAND.write, offset, data.length, data);
  }

  flush(): Promise<NbdAnswer> {
    return this.#request(COMMAND.flush, 0, 0, null);
  }

  /** Idempotent. Whatever is in flight is rejected. */
  close(): void {
    this.#fail(new StorageError('unavailable', 'The connection was closed'));
  }

  /**
   * As a client that moved away without a word: whatever is in flight is rejected here, and the server is left
   * with it. The returned function closes the connection.
   */
  abandon(): () => void {
    this.#isAbandoned = true;
    this.#fail(new StorageError('unavailable', 'The connection was abandoned'));
    return () => this.#socket.destroy();
  }

  #request(type: number, offset: number, length: number, data: Buffer | null): Promise<NbdAnswer> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const cookie = this.#nextCookie;
    this.#nextCookie += 1;
    const header = Buffer.alloc(REQUEST_BYTES);
    header.writeUInt32BE(REQUEST_MAGIC, 0);
    header.writeUInt16BE(type, 6);
    writeU64(header, 8, cookie);
    writeU64(header, 16, offset);
    header.writeUInt32BE(length, 24);
    return new Promise((resolve, reject) => {
      const readBytes = type === COMMAND.read ? length : 0;
      this.#pending.set(cookie, { readBytes, resolve, reject });
      this.#socket.cork();
      this.#socket.write(header);
      if (data !== null) this.#socket.write(data);
      this.#socket.uncork();
    });
  }

  async #handshake(name: string): Promise<void> {
    const greeting = await this.#take(GREETING_BYTES);
    if (greeting.readUInt32BE(0) !== NBD_MAGIC_HIGH || greeting.readUInt32BE(4) !== NBD_MAGIC_LOW) {
      throw new StorageError('protocol', 'The server does not speak NBD');
    }
    this.#socket.write(encodeGo(name));
    for (;;) {
      const header = await this.#take(OPTION_REPLY_HEADER_BYTES);
      const type = header.readUInt32BE(12);
      const data = await this.#take(header.readUInt32BE(16));
      if (type === OPTION_REPLY.ack) break;
      if (type !== OPTION_REPLY.info) {
        throw new StorageError('unavailable', `Export "${name}" was refused: ${data.toString()}`);
      }
      if (data.readUInt16BE(0) === INFO.export) this.#sizeBytes = Number(data.readBigUInt64BE(2));
    }
    this.#isNegotiated = true;
  }

  /** The next bytes of the handshake. */
  async #take(bytes: number): Promise<Buffer> {
    while (this.#input.length < bytes) {
      if (this.#failure !== null) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const taken = this.#input.subarray(0, bytes);
    this.#input = this.#input.subarray(bytes);
    return taken;
  }

  #onData(chunk: Buffer): void {
    this.#input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk]);
    this.#wake();
    while (
      this.#isNegotiated &&
      this.#failure === null &&
      this.#input.length >= SIMPLE_REPLY_BYTES
    ) {
      if (this.#input.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC) {
        this.#fail(new StorageError('protocol', 'A reply without the magic number'));
        return;
      }
      const cookie = this.#input.readUInt32BE(8) * 0x1_0000_0000 + this.#input.readUInt32BE(12);
      const pending = this.#pending.get(cookie);
      if (pending === undefined) {
        this.#fail(new StorageError('protocol', `A reply to nothing, cookie ${cookie}`));
        return;
      }
      const error = this.#input.readUInt32BE(4);
      const end = SIMPLE_REPLY_BYTES + (error === 0 ? pending.readBytes : 0);
      if (this.#input.length < end) return;
      const data = this.#input.subarray(SIMPLE_REPLY_BYTES, end);
      this.#input = this.#input.subarray(end);
      this.#pending.delete(cookie);
      pending.resolve({ error, data: pending.readBytes > 0 ? data : null });
    }
  }

  #fail(error: Error): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#wake();
    if (!this.#isAbandoned) this.#socket.destroy();
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }
}

/** The client's flags and GO for the export, without any wish for information. */
function encodeGo(name: string): Buffer {
  const text = Buffer.from(name);
  const bytes = Buffer.alloc(CLIENT_FLAGS_BYTES + OPTION_HEADER_BYTES + 6 + text.length);
  bytes.writeUInt32BE(HANDSHAKE_FLAG.fixedNewstyle | HANDSHAKE_FLAG.noZeroes, 0);
  bytes.writeUInt32BE(OPTION_MAGIC_HIGH, 4);
  bytes.writeUInt32BE(OPTION_MAGIC_LOW, 8);
  bytes.writeUInt32BE(OPTION.go, 12);
  bytes.writeUInt32BE(6 + text.length, 16);
  bytes.writeUInt32BE(text.length, 20);
  text.copy(bytes, 24);
  return bytes;
}

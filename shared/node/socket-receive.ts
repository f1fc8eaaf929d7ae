/**
 * Receiving into memory of our own choice. A plain socket allocates 64 KiB per read and hands it
 * out with 'data'; Node's `onread` option reads into given memory instead, which halves the cost of
 * bulk transfers and leaves nothing for the garbage collector. Clients have that option in
 * `net.connect`; accepted sockets do not, so their handle is wrapped once more in a socket that
 * has.
 *
 * The wrapping touches members of `net.Socket` that are not documented. They are touched in this
 * file only, `chooseReceiveMode` tries them out at start-up, and every socket that does not fit
 * (another Node, TLS) is served through 'data' and a copy, with the same behaviour.
 */
import { connect, createServer, type NetConnectOpts, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { assert } from '../base/assert.ts';

/** Where the bytes of one connection go. Neither function may throw. */
export interface ReceiveSink {
  /**
   * Memory for the next read, at least one byte. It stays reserved until `received` is called,
   * which may be much later; it is asked for again after every `received`.
   */
  target(): Uint8Array;
  /**
   * `count` bytes (at least 1) are at the front of the last target. `false` pauses until `resume`.
   */
  received(count: number): boolean;
}

export interface Receiver {
  /** The socket to use from now on, for everything but reading: write, events, address, destroy. */
  readonly socket: Socket;
  readonly mode: ReceiveMode;
  /**
   * Goes on after `received` returned false; harmless when not paused or closed. While paused, the
   * end of the peer may go unnoticed ('onread'), or come before its last bytes ('data').
   */
  resume(): void;
}

export type ReceiveMode = 'onread' | 'data';

/**
 * One connection may take so many bytes before the others get their turn: the system would
 * otherwise be asked up to 32 times in a row for more. A quarter of a millisecond at memory speed.
 */
const TURN_BYTES_MAX = 1024 * 1024;
/** The self-test runs over loopback; a machine that cannot do that in time gets the safe mode. */
const SELF_TEST_DEADLINE_MS = 5_000;

/**
 * For an accepted socket: call it inside the 'connection' handler, before anything else touches
 * `accepted`, which must not be used afterwards (its handle moves to `receiver.socket`).
 */
export function receiveInto(accepted: Socket, sink: ReceiveSink, mode: ReceiveMode): Receiver {
  const handle = mode === 'onread' ? findHandle(accepted) : null;
  if (handle === null) return new DataReceiver(accepted, sink);
  const turn = new Turn(sink);
  handle.readStop();
  // Without this the new socket believes that it is reading already and, now and then, never does.
  handle.reading = false;
  Reflect.set(accepted, '_handle', null);
  const options = { handle, onread: turn.onread, readable: true, writable: true };
  const socket = new Socket(options);
  // The server counts its sockets; this one is done. It has no handle left to close.
  accepted.destroy();
  turn.socket = socket;
  return turn;
}

/**
 * For a client: connects, receiving into `sink` from the first byte. Errors come as 'error' events.
 */
export function connectInto(
  options: NetConnectOpts,
  sink: ReceiveSink,
  mode: ReceiveMode,
): Receiver {
  if (mode === 'data') return new DataReceiver(connect(options), sink);
  const turn = new Turn(sink);
  const socket = connect({ ...options, onread: turn.onread });
  turn.socket = socket;
  return turn;
}

/**
 * Tries the wrapped receiver on a loopback connection: `'onread'` when it works here, else
 * `'data'`.
 */
export async function chooseReceiveMode(): Promise<ReceiveMode> {
  const bytes = Buffer.alloc(100_000);
  for (let index = 0; index < bytes.length; index += 1) bytes[index] = (index * 31) & 0xff;
  try {
    const echoed = await transferOnLoopback(bytes);
    return echoed.equals(bytes) ? 'onread' : 'data';
  } catch {
    // Whatever is wrong, the safe mode does not depend on it.
    return 'data';
  }
}

interface RawHandle {
  readStop(): unknown;
  reading: boolean;
}

function findHandle(socket: Socket): RawHandle | null {
  if (socket instanceof TLSSocket || !('_handle' in socket)) return null;
  const handle: unknown = socket._handle;
  return isRawHandle(handle) ? handle : null;
}

function isRawHandle(value: unknown): value is RawHandle {
  return (
    typeof value === 'object' &&
    value !== null &&
    'readStop' in value &&
    typeof value.readStop === 'function' &&
    'reading' in value &&
    'useUserBuffer' in value &&
    typeof value.useUserBuffer === 'function'
  );
}

/** The receiver by `onread`: counts the bytes of a turn and lets others go first after too many. */
class Turn implements Receiver {
  readonly mode = 'onread';
  readonly onread: {
    readonly buffer: () => Uint8Array;
    readonly callback: (count: number, target: Uint8Array) => boolean;
  };
  readonly #sink: ReceiveSink;
  #socket: Socket | null = null;
  #turnBytes = 0;
  #isPausedBySink = false;
  #isResting = false;

  constructor(sink: ReceiveSink) {
    this.#sink = sink;
    this.onread = {
      buffer: () => this.#target(),
      callback: (count) => this.#received(count),
    };
  }

  get socket(): Socket {
    assert(this.#socket !== null, 'the receiver has its socket');
    return this.#socket;
  }

  set socket(socket: Socket) {
    this.#socket = socket;
  }

  resume(): void {
    if (!this.#isPausedBySink) return;
    this.#isPausedBySink = false;
    if (!this.#isResting) this.#socket?.resume();
  }

  #target(): Uint8Array {
    const target = this.#sink.target();
    assert(target.length > 0, 'there is room for the next read');
    return target;
  }

  #received(count: number): boolean {
    this.#turnBytes += count;
    // Set first: a sink that resumes from within its own call must find itself paused.
    this.#isPausedBySink = true;
    const goesOn = this.#sink.received(count);
    if (goesOn) this.#isPausedBySink = false;
    if (this.#turnBytes >= TURN_BYTES_MAX) {
      this.#isResting = true;
      setImmediate(() => this.#endRest());
      return false;
    }
    return !this.#isPausedBySink;
  }

  #endRest(): void {
    this.#turnBytes = 0;
    this.#isResting = false;
    if (!this.#isPausedBySink && this.#socket?.destroyed === false) this.#socket.resume();
  }
}

/** The receiver by 'data': copies chunks into the sink's targets. */
class DataReceiver implements Receiver {
  readonly mode = 'data';
  readonly socket: Socket;
  readonly #sink: ReceiveSink;
  #rest: Buffer | null = null;
  #isPaused = false;
  #isDelivering = false;

  constructor(socket: Socket, sink: ReceiveSink) {
    this.socket = socket;
    this.#sink = sink;
    socket.on('data', (chunk: Buffer) => {
      this.#rest = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk]);
      this.#deliver();
    });
    // A server with `pauseOnConnect` hands over sockets that wait for this.
    socket.resume();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#isDelivering) return;
    this.#deliver();
    if (!this.#isPaused) this.socket.resume();
  }

  #deliver(): void {
    this.#isDelivering = true;
    while (this.#rest !== null && !this.#isPaused) {
      const rest: Buffer = this.#rest;
      const target = this.#sink.target();
      assert(target.length > 0, 'there is room for the next read');
      const count = rest.copy(target);
      this.#rest = count === rest.length ? null : rest.subarray(count);
      this.#isPaused = true;
      if (this.#sink.received(count)) this.#isPaused = false;
    }
    this.#isDelivering = false;
    if (this.#isPaused) this.socket.pause();
  }
}

/**
 * Sends `bytes` to a wrapped accepted socket that takes odd amounts and pauses; returns what came.
 */
function transferOnLoopback(bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // One more byte than is sent, so that there is always room to ask for.
    const received = Buffer.alloc(bytes.length + 1);
    let filled = 0;
    let receiver: Receiver | null = null;
    let client: Socket | null = null;
    const server = createServer({ pauseOnConnect: true });
    const finish = (error: Error | null): void => {
      clearTimeout(deadline);
      receiver?.socket.destroy();
      client?.destroy();
      server.close();
      if (error === null) resolve(received.subarray(0, filled));
      else reject(error);
    };
    const deadline = setTimeout(
      () => finish(new Error(`Received ${filled} of ${bytes.length} bytes in time`)),
      SELF_TEST_DEADLINE_MS,
    );
    const sink: ReceiveSink = {
      target: () => received.subarray(filled, filled + 7_001),
      received: (count) => {
        filled += count;
        if (filled >= bytes.length) setImmediate(finish, null);
        else setImmediate(() => receiver?.resume());
        return false;
      },
    };
    server.on('error', finish);
    server.on('connection', (accepted) => {
      try {
        receiver = receiveInto(accepted, sink, 'onread');
        receiver.socket.on('error', finish);
        if (receiver.mode === 'data') finish(new Error('This Node has no handle to wrap'));
      } catch (error) {
        finish(error instanceof Error ? error : new Error(String(error)));
      }
    });
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') return;
      client = connect({ host: '127.0.0.1', port: address.port });
      client.on('error', finish);
      client.end(bytes);
    });
  });
}

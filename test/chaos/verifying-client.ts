/**
 * A client that forgets nothing: writes blocks whose content names the volume, the block and the write, and
 * knows for each block what a single disk could return now. It reads at random all the time and everything at the
 * end. When its connection breaks it connects again, wherever the volume is then, and sends once more what was not
 * answered, as the kernel's client would. At most one request per block is in flight, so that there is no doubt.
 */
import { StorageError } from '../../shared/base/errors.ts';
import { Prng } from '../../shared/base/prng.ts';
import { NbdClient } from './nbd-client.ts';
import { PauseMeter } from './pause-meter.ts';

const BLOCK_BYTES = 4096;
const RECONNECT_MS = 100;
/** A part of the requests are reads of blocks that were written before; one in a hundred is a flush. */
const READ_SHARE = 0.25;
const FLUSH_SHARE = 0.01;
/** Complaints beyond these say nothing new. */
const COMPLAINTS_MAX = 20;

export interface VerifyingClientOptions {
  readonly volume: string;
  readonly sizeBytes: number;
  readonly depth: number;
  /** Requests per second; null: as fast as they are answered. */
  readonly rate: number | null;
  readonly isReading: boolean;
  readonly seed: number;
  /** Where the volume is served now; null: nobody knows yet. */
  readonly locate: () => Promise<string | null>;
  readonly report: (text: string) => void;
}

/** What a block may hold: one answered write, or others as well that got no clear answer. */
interface BlockState {
  /** Number of the last write that was acked; 0: never written. */
  acked: number;
  /** Writes that failed since: each may be there or not. */
  unknown: number[];
  isBusy: boolean;
}

export interface ClientFigures {
  readonly writes: number;
  readonly reads: number;
  readonly flushes: number;
  readonly reconnects: number;
  readonly errors: number;
  /** Longest time in which something was asked and nothing was answered. */
  readonly pauseMsMax: number;
  /** Longest time that one request took, with all repetitions. */
  readonly latencyMsMax: number;
}

export class VerifyingClient {
  readonly #options: VerifyingClientOptions;
  readonly #random: Prng;
  readonly #blocks: BlockState[];
  readonly #complaints: string[] = [];
  readonly pauses = new PauseMeter();
  readonly #abandoned: (() => void)[] = [];
  #connection: Promise<NbdClient> | null = null;
  #workers: Promise<void>[] = [];
  #isRunning = false;
  #isClosed = false;
  #nextWrite = 1;
  #nextSlotMs = 0;
  #writes = 0;
  #reads = 0;
  #flushes = 0;
  #connects = 0;
  #errors = 0;

  constructor(options: VerifyingClientOptions) {
    this.#options = options;
    this.#random = new Prng(options.seed);
    this.#blocks = Array.from({ length: options.sizeBytes / BLOCK_BYTES }, () => ({
      acked: 0,
      unknown: [],
      isBusy: false,
    }));
  }

  get figures(): ClientFigures {
    return {
      writes: this.#writes,
      reads: this.#reads,
      flushes: this.#flushes,
      reconnects: Math.max(0, this.#connects - 1),
      errors: this.#errors,
      pauseMsMax: this.pauses.pauseMsMax,
      latencyMsMax: this.pauses.latencyMsMax,
    };
  }

  /** What was wrong, in words; empty when every read was right. */
  get complaints(): readonly string[] {
    return this.#complaints;
  }

  start(): void {
    this.#isRunning = true;
    this.#nextSlotMs = Date.now();
    this.#workers = Array.from({ length: this.#options.depth }, () =>
      this.#work().catch((error: unknown) => {
        if (!this.#isClosed) throw error;
      }),
    );
  }

  /** Resolves when everything that was asked is answered. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    await Promise.all(this.#workers);
    this.#workers = [];
  }

  /** Reads every block that was ever written; `stop` comes first. */
  async verifyAll(): Promise<number> {
    const written = this.#blocks.flatMap((state, block) =>
      state.acked > 0 || state.unknown.length > 0 ? [block] : [],
    );
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < written.length) {
        const block = written[next] ?? 0;
        next += 1;
        await this.#read(block);
      }
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    return written.length;
  }

  close(): void {
    this.#isRunning = false;
    this.#isClosed = true;
    for (const end of this.#abandoned.splice(0)) end();
    this.#connection?.then(
      (client) => client.close(),
      () => undefined, // It never came to be.
    );
  }

  /**
   * The volume is served elsewhere now: everything that waits is asked there, while the old gateway is left with
   * what it has, and with an open connection until `close`. Nothing of that may ever reach a disk.
   */
  relocate(): void {
    this.#connection?.then(
      (client) => {
        this.#abandoned.push(client.abandon());
      },
      () => undefined, // It never came to be.
    );
  }

  async #work(): Promise<void> {
    while (this.#isRunning) {
      await this.#pace();
      if (!this.#isRunning) return;
      const kind = this.#options.isReading ? this.#random.below(1000) / 1000 : 1;
      if (kind < FLUSH_SHARE) await this.#flush();
      else {
        const block = this.#random.below(this.#blocks.length);
        const state = this.#blocks[block];
        if (state === undefined || state.isBusy) continue;
        state.isBusy = true;
        if (kind < READ_SHARE && state.acked > 0) await this.#read(block);
        else await this.#write(block, state);
        state.isBusy = false;
      }
    }
  }

  async #pace(): Promise<void> {
    const { rate } = this.#options;
    if (rate === null) return;
    // After a pause the missed requests are not made up for.
    this.#nextSlotMs = Math.max(this.#nextSlotMs + 1000 / rate, Date.now() - 100);
    const wait = this.#nextSlotMs - Date.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  }

  async #write(block: number, state: BlockState): Promise<void> {
    const number = this.#nextWrite;
    this.#nextWrite += 1;
    const data = contentOf(this.#options.seed, block, number);
    const error = await this.#ask((client) => client.write(block * BLOCK_BYTES, data));
    if (error.error === 0) {
      state.acked = number;
      state.unknown = [];
      this.#writes += 1;
    } else {
      state.unknown.push(number);
      this.#onError('write', block, error.error);
    }
  }

  async #read(block: number): Promise<void> {
    const answer = await this.#ask((client) => client.read(block * BLOCK_BYTES, BLOCK_BYTES));
    if (answer.error !== 0 || answer.data === null) {
      this.#onError('read', block, answer.error);
      return;
    }
    this.#reads += 1;
    const state = this.#blocks[block];
    if (state === undefined) return;
    const found = numberIn(answer.data);
    const isRight =
      (found === state.acked || state.unknown.includes(found)) &&
      answer.data.equals(
        found === 0 ? Buffer.alloc(BLOCK_BYTES) : contentOf(this.#options.seed, block, found),
      );
    if (!isRight) {
      this.#complain(
        `block ${block} (offset ${block * BLOCK_BYTES}) holds write ${found}, expected ${[state.acked, ...state.unknown].join(' or ')}; first bytes ${answer.data.subarray(0, 24).toString('hex')}`,
      );
    } else if (found !== state.acked) {
      // Seen once, it stays: it must not go away again.
      state.acked = found;
      state.unknown = [];
    }
  }

  async #flush(): Promise<void> {
    const answer = await this.#ask((client) => client.flush());
    if (answer.error === 0) this.#flushes += 1;
    else this.#onError('flush', 0, answer.error);
  }

  /** Repeats over new connections until there is an answer. */
  async #ask(
    request: (
      client: NbdClient,
    ) => Promise<{ readonly error: number; readonly data: Buffer | null }>,
  ): Promise<{ readonly error: number; readonly data: Buffer | null }> {
    const end = this.pauses.begin();
    for (;;) {
      const client = await this.#connect();
      try {
        const answer = await request(client);
        end();
        return answer;
      } catch {
        // The stream ended: the same again on the next one.
      }
    }
  }

  /** One for all workers; looked up anew after each end. */
  async #connect(): Promise<NbdClient> {
    for (;;) {
      if (this.#isClosed) throw new StorageError('unavailable', 'The client was closed');
      this.#connection ??= this.#open();
      const opening = this.#connection;
      try {
        const client = await opening;
        if (client.isOpen) return client;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
      }
      if (this.#connection === opening) this.#connection = null;
    }
  }

  async #open(): Promise<NbdClient> {
    const uri = await this.#options.locate();
    if (uri === null) throw new StorageError('unavailable', 'The volume is served nowhere');
    const client = await NbdClient.open(uri);
    this.#connects += 1;
    if (this.#connects > 1) this.#options.report(`connected again to ${uri}`);
    return client;
  }

  #onError(what: string, block: number, error: number): void {
    this.#errors += 1;
    if (this.#errors <= COMPLAINTS_MAX) {
      this.#options.report(`${what} of block ${block} failed with error ${error}`);
    }
  }

  #complain(text: string): void {
    if (this.#complaints.length < COMPLAINTS_MAX) this.#complaints.push(text);
    this.#options.report(`WRONG: ${text}`);
  }
}

/** Names of volume (its seed), block and write, then noise made of them: every byte counts. */
function contentOf(seed: number, block: number, number: number): Buffer {
  const data = Buffer.allocUnsafe(BLOCK_BYTES);
  let noise = (Math.imul(number, 0x9e3779b1) ^ Math.imul(block + 1, 0x85ebca6b) ^ seed) | 1;
  data.writeUInt32LE(number, 0);
  data.writeUInt32LE(block, 4);
  data.writeUInt32LE(seed >>> 0, 8);
  for (let at = 12; at < BLOCK_BYTES; at += 4) {
    noise ^= noise << 13;
    noise ^= noise >>> 17;
    noise ^= noise << 5;
    data.writeInt32LE(noise | 0, at);
  }
  return data;
}

function numberIn(data: Buffer): number {
  return data.readUInt32LE(0);
}

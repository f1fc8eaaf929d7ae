/**
 * One NBD connection as a machine: bytes in, batches of replies and requests to the device out. It
 * knows no sockets and no clock; nbd-listener.ts moves the bytes and sets the deadlines.
 *
 *     greeting → client flags → options … → requests … → closing → closed
 *
 * Everything that is in the receive buffer is parsed at once and all replies of that turn leave in
 * one write. Requests complete in any order. A request costs no promise, closure or allocation: its
 * slot, its payload and its reply come from pools. When too much is in flight, parsing stops, then
 * reading, so that the client's own socket holds it back.
 */
import { assert } from '../../../shared/base/assert.ts';
import { MiB } from '../../../shared/base/units.ts';
import {
  CLIENT_FLAGS_BYTES,
  COMMAND,
  COMMAND_FLAG,
  decodeOptionHeader,
  GREETING_BYTES,
  NBD_ERROR,
  NbdRequestHeader,
  OPTION_HEADER_BYTES,
  REQUEST_BYTES,
  writeGreeting,
} from '../../../shared/wire/nbd.ts';
import type { BufferPool } from '../buffer-pool.ts';
import {
  NBD_OPTION_BYTES_MAX,
  NBD_PAYLOAD_BYTES_MAX,
  type NbdExport,
  type NbdExports,
  NbdHandshake,
  type NbdTerms,
} from './nbd-handshake.ts';
import { NbdInput } from './nbd-input.ts';
import { judgeRequest } from './nbd-judgement.ts';
import { type NbdBatch, NbdOutput } from './nbd-output.ts';
import { replyToSlot, writeErrorReply, writePlainReply } from './nbd-replies.ts';
import { NbdSlot } from './nbd-slot.ts';

/**
 * What the machine asks of its surroundings. None of these may call back into the session at once.
 */
export interface NbdTransport {
  /** Sends the pieces in order; `session.sent(batch)` follows when the system has taken them. */
  send(batch: NbdBatch): void;
  /** Asks for one call of `session.turn()`, soon after the current event. */
  requestTurn(): void;
  /** Reading may go on after `received` returned false. */
  resume(): void;
  /** The client has chosen: from now on the session serves this export. */
  opened(chosen: NbdExport): void;
  /** Closes the connection when everything that was sent has left. Called once at most. */
  end(reason: string): void;
}

/** Twice the queue of a kernel client; more gains nothing. */
export const NBD_REQUESTS_IN_FLIGHT_MAX = 256;
/** Payloads held for one connection, both ways: two of the largest requests. */
export const NBD_BYTES_IN_FLIGHT_MAX = 64 * MiB;
/** A refused write is read and thrown away up to here; beyond, the client is beyond help. */
const DISCARDED_BYTES_MAX = 2 * NBD_PAYLOAD_BYTES_MAX;
/** Replies leave at the latest when so many bytes have gathered. */
const BATCH_BYTES_MAX = 1 * MiB;
/** One BLOCK_STATUS looks at so much, or 64 extents; the protocol lets answers be shorter. */
const STATUS_BYTES_MAX = 256 * MiB;

type Phase =
  | { readonly kind: 'client-flags' }
  | { readonly kind: 'option' }
  | { readonly kind: 'option-data'; readonly option: number; readonly length: number }
  | { readonly kind: 'request' }
  /** The write whose payload is arriving. */
  | { readonly kind: 'payload' }
  /** A refused write whose payload is thrown away before the refusal is sent. */
  | { readonly kind: 'discard' }
  /** No more requests; the replies in flight still go out. */
  | { readonly kind: 'draining'; readonly reason: string }
  | { readonly kind: 'closed' };

// The kinds without fields, made once: phases change with every request.
const OPTION_PHASE: Phase = { kind: 'option' };
const REQUEST_PHASE: Phase = { kind: 'request' };
const PAYLOAD_PHASE: Phase = { kind: 'payload' };
const DISCARD_PHASE: Phase = { kind: 'discard' };
const CLOSED_PHASE: Phase = { kind: 'closed' };

export class NbdSession {
  readonly #transport: NbdTransport;
  readonly #pool: BufferPool;
  readonly #handshake: NbdHandshake;
  readonly #input: NbdInput;
  readonly #output: NbdOutput;
  readonly #header = new NbdRequestHeader();
  #phase: Phase = { kind: 'client-flags' };
  #terms: NbdTerms | null = null;
  #hasEnded = false;

  /** All slots ever made, and those not in use. */
  readonly #slots: NbdSlot[] = [];
  readonly #freeSlots: NbdSlot[] = [];
  #arriving: NbdSlot | null = null;
  #discardBytes = 0;
  #discardError: number = NBD_ERROR.none;

  #inFlight = 0;
  /** Payloads of requests in flight. */
  #heldBytes = 0;
  /** In batches that the system has not taken yet. */
  #unsentBytes = 0;
  #isParsing = false;
  #isPaused = false;
  #isTurnRequested = false;

  constructor(exports: NbdExports, transport: NbdTransport, pool: BufferPool) {
    this.#transport = transport;
    this.#pool = pool;
    this.#handshake = new NbdHandshake(exports);
    this.#input = new NbdInput(pool);
    this.#output = new NbdOutput(pool);
  }

  /** Sends the greeting; call it once, before anything else. */
  open(): void {
    const greeting = Buffer.alloc(GREETING_BYTES);
    writeGreeting(greeting, 0);
    this.#output.copy(greeting);
    this.#flush();
  }

  /** Null until the client has chosen. */
  get export(): NbdExport | null {
    return this.#terms?.export ?? null;
  }

  get requestsInFlight(): number {
    return this.#inFlight;
  }

  /** Payloads and replies that this connection keeps in memory. */
  get bytesInFlight(): number {
    return this.#heldBytes + this.#unsentBytes + this.#output.bytes;
  }

  /** Where the next received bytes go (see `ReceiveSink`). */
  target(): Uint8Array {
    return this.#input.target();
  }

  /** False: read no more until `transport.resume()`. */
  received(count: number): boolean {
    this.#input.received(count);
    if (this.#phase.kind === 'closed') return false;
    this.#parse();
    this.#flush();
    return !this.#isPaused;
  }

  /** What `requestTurn` asked for. */
  turn(): void {
    this.#isTurnRequested = false;
    if (this.#phase.kind === 'closed') return;
    if (this.#isPaused && this.#hasRoom()) {
      this.#isPaused = false;
      this.#parse();
      if (!this.#isPaused) this.#transport.resume();
    }
    this.#flush();
  }

  /** The system has taken a whole batch: its memory is free again. */
  sent(batch: NbdBatch): void {
    this.#unsentBytes -= batch.bytes;
    assert(this.#unsentBytes >= 0, 'only what was sent is confirmed');
    for (const buffer of batch.owned) this.#pool.release(buffer);
    if (this.#isPaused) this.#requestTurn();
  }

  /** Ends the connection from our side: requests in flight get ESHUTDOWN, later ones nothing. */
  shutdown(reason: string): void {
    if (this.#phase.kind === 'closed') return;
    if (this.#phase.kind !== 'draining') this.#drain(reason);
    this.#answerAll();
    this.#flush();
    // What the client still sends is read, so that its end is seen.
    if (this.#isPaused) this.#transport.resume();
    this.#isPaused = false;
  }

  /**
   * The connection is gone and nothing writes into our memory any more. The device keeps what it
   * has; its answers go nowhere.
   */
  closed(): void {
    if (this.#phase.kind === 'closed') return;
    this.#phase = CLOSED_PHASE;
    if (this.#arriving?.memory) this.#pool.release(this.#arriving.memory);
    this.#arriving = null;
    this.#input.close();
  }

  /** Called by a slot when the device is done with it. */
  complete(slot: NbdSlot): void {
    assert(slot.isInFlight, 'a request completes once');
    slot.isInFlight = false;
    this.#inFlight -= 1;
    this.#heldBytes -= slot.heldBytes;
    if (slot.memory !== null) this.#pool.release(slot.memory);
    if (!slot.isAnswered && this.#phase.kind !== 'closed' && this.#terms !== null) {
      replyToSlot(slot, this.#terms, this.#output, this.#pool);
    }
    slot.clear();
    this.#freeSlots.push(slot);
    if (!this.#isParsing) this.#requestTurn();
  }

  // ── Parsing ────────────────────────────────────────────────────────────────────────────────

  /**
   * Consumes what it can until too much is in flight. One step is taken in any case: so the input
   * never stays full.
   */
  #parse(): void {
    this.#isParsing = true;
    while (this.#parseOne()) {
      if (this.#output.bytes >= BATCH_BYTES_MAX) this.#flush();
      if (this.#hasRoom()) continue;
      this.#isPaused = true;
      break;
    }
    this.#isParsing = false;
  }

  #hasRoom(): boolean {
    return (
      this.#inFlight < NBD_REQUESTS_IN_FLIGHT_MAX && this.bytesInFlight < NBD_BYTES_IN_FLIGHT_MAX
    );
  }

  /** One step of the machine; false when more bytes are needed. */
  #parseOne(): boolean {
    const input = this.#input;
    const phase = this.#phase;
    switch (phase.kind) {
      case 'request':
        return input.waiting >= REQUEST_BYTES && this.#request();
      case 'payload':
        return input.fillPayload() && this.#payloadArrived();
      case 'discard':
        this.#discardBytes -= input.skip(this.#discardBytes);
        return this.#discardBytes === 0 && this.#discarded();
      case 'client-flags':
        return input.waiting >= CLIENT_FLAGS_BYTES && this.#clientFlags();
      case 'option':
        return input.waiting >= OPTION_HEADER_BYTES && this.#option();
      case 'option-data':
        return input.waiting >= phase.length && this.#optionData(phase.option, phase.length);
      case 'draining':
      case 'closed':
        // Whatever still comes is no longer of interest.
        input.skip(input.waiting);
        return false;
    }
  }

  #clientFlags(): boolean {
    const flags = this.#input.bytes.readUInt32BE(this.#input.start);
    this.#input.skip(CLIENT_FLAGS_BYTES);
    const refusal = this.#handshake.acceptFlags(flags);
    if (refusal !== null) return this.#drain(refusal);
    this.#phase = OPTION_PHASE;
    return true;
  }

  #option(): boolean {
    const header = decodeOptionHeader(this.#input.bytes, this.#input.start);
    if (header === null) return this.#drain('Client sent no option where one was due');
    if (header.length > NBD_OPTION_BYTES_MAX) {
      return this.#drain(
        `Client sent option ${header.option} with ${header.length} bytes, ` +
          `allowed are ${NBD_OPTION_BYTES_MAX}`,
      );
    }
    this.#input.skip(OPTION_HEADER_BYTES);
    this.#phase = { kind: 'option-data', option: header.option, length: header.length };
    return true;
  }

  #optionData(option: number, length: number): boolean {
    const at = this.#input.start;
    const step = this.#handshake.handle(option, this.#input.bytes.subarray(at, at + length));
    this.#input.skip(length);
    for (const reply of step.replies) this.#output.copy(reply);
    switch (step.next.kind) {
      case 'continue':
        this.#phase = OPTION_PHASE;
        return true;
      case 'close':
        return this.#drain(step.next.reason);
      case 'transmit':
        this.#terms = step.next.terms;
        this.#phase = REQUEST_PHASE;
        this.#transport.opened(step.next.terms.export);
        return true;
    }
  }

  /** A whole request header is there. */
  #request(): boolean {
    const header = this.#header;
    const terms = this.#terms;
    assert(terms !== null, 'requests come after the terms');
    if (!header.read(this.#input.bytes, this.#input.start)) {
      return this.#drain('Client sent no request where one was due');
    }
    this.#input.skip(REQUEST_BYTES);
    if (header.type === COMMAND.disconnect) return this.#drain('Client disconnected');
    const error = judgeRequest(header, terms);
    if (error !== NBD_ERROR.none) return this.#refuse(error, terms);
    if (header.type === COMMAND.cache) {
      // Nothing to do: the replicas' page caches are the only cache, and reading warms them.
      writePlainReply(header.cookieHigh, header.cookieLow, this.#output);
      return true;
    }
    const slot = this.#freeSlots.pop() ?? this.#makeSlot();
    this.#prepare(slot, header);
    if (header.type === COMMAND.write) {
      this.#expectPayload(slot);
      return true;
    }
    this.#submit(slot);
    return true;
  }

  #refuse(error: number, terms: NbdTerms): boolean {
    const header = this.#header;
    if (header.type !== COMMAND.write || header.length === 0) {
      writeErrorReply(header.type, error, header.cookieHigh, header.cookieLow, terms, this.#output);
      return true;
    }
    if (header.length > DISCARDED_BYTES_MAX) {
      return this.#drain(`Client sent a write of ${header.length} bytes`);
    }
    // The header stays as it is until the payload is gone: no other is read meanwhile.
    this.#discardBytes = header.length;
    this.#discardError = error;
    this.#phase = DISCARD_PHASE;
    return true;
  }

  #discarded(): boolean {
    const { type, cookieHigh, cookieLow } = this.#header;
    assert(this.#terms !== null, 'requests come after the terms');
    writeErrorReply(type, this.#discardError, cookieHigh, cookieLow, this.#terms, this.#output);
    this.#phase = REQUEST_PHASE;
    return true;
  }

  #makeSlot(): NbdSlot {
    const slot = new NbdSlot(this);
    this.#slots.push(slot);
    return slot;
  }

  #prepare(slot: NbdSlot, header: NbdRequestHeader): void {
    slot.command = header.type;
    slot.flags = header.flags;
    slot.cookieHigh = header.cookieHigh;
    slot.cookieLow = header.cookieLow;
    slot.offset = header.offset;
    slot.length = header.length;
    slot.isDurable = (header.flags & COMMAND_FLAG.fua) !== 0;
    switch (header.type) {
      case COMMAND.read:
        slot.op = 'read';
        slot.heldBytes = header.length;
        break;
      case COMMAND.write:
        slot.op = 'write';
        slot.heldBytes = header.length;
        break;
      case COMMAND.flush:
        slot.op = 'flush';
        break;
      case COMMAND.trim:
        slot.op = 'trim';
        break;
      case COMMAND.writeZeroes:
        slot.op = 'zero';
        slot.mayUnmap = (header.flags & COMMAND_FLAG.noHole) === 0;
        break;
      default:
        slot.op = 'status';
        slot.length = Math.min(header.length, STATUS_BYTES_MAX);
        break;
    }
    this.#heldBytes += slot.heldBytes;
  }

  #expectPayload(slot: NbdSlot): void {
    const memory = this.#pool.take(slot.length);
    slot.memory = memory;
    slot.data = memory.length === slot.length ? memory : memory.subarray(0, slot.length);
    this.#arriving = slot;
    this.#input.beginPayload(slot.data);
    this.#phase = PAYLOAD_PHASE;
  }

  #payloadArrived(): boolean {
    const slot = this.#arriving;
    assert(slot !== null, 'the payload belongs to a request');
    this.#arriving = null;
    this.#phase = REQUEST_PHASE;
    this.#submit(slot);
    return true;
  }

  #submit(slot: NbdSlot): void {
    assert(this.#terms !== null, 'requests come after the terms');
    slot.isInFlight = true;
    this.#inFlight += 1;
    this.#terms.export.device.submit(slot);
  }

  // ── Sending and ending ─────────────────────────────────────────────────────────────────────

  #requestTurn(): void {
    if (this.#isTurnRequested || this.#phase.kind === 'closed') return;
    this.#isTurnRequested = true;
    this.#transport.requestTurn();
  }

  #flush(): void {
    if (this.#phase.kind === 'closed') return;
    const batch = this.#output.take();
    if (batch !== null) {
      this.#unsentBytes += batch.bytes;
      this.#transport.send(batch);
    }
    if (this.#phase.kind === 'draining' && this.#unanswered() === 0 && !this.#hasEnded) {
      this.#hasEnded = true;
      this.#transport.end(this.#phase.reason);
    }
  }

  /** Reads no more requests; the connection ends when all in flight are answered. Returns false. */
  #drain(reason: string): boolean {
    this.#phase = { kind: 'draining', reason };
    this.#input.skip(this.#input.waiting);
    return false;
  }

  #unanswered(): number {
    let count = 0;
    for (const slot of this.#slots) if (slot.isInFlight && !slot.isAnswered) count += 1;
    return count;
  }

  #answerAll(): void {
    const terms = this.#terms;
    if (terms === null) return;
    for (const slot of this.#slots) {
      if (!slot.isInFlight || slot.isAnswered) continue;
      slot.isAnswered = true;
      const { command, cookieHigh, cookieLow } = slot;
      writeErrorReply(command, NBD_ERROR.shutdown, cookieHigh, cookieLow, terms, this.#output);
    }
  }
}

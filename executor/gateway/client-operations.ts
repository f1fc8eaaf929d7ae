/**
 * The requests of one volume's clients from `submit` to `onDone`: how many parts are left, how long
 * they have waited, what they count for. Every request is answered exactly once from here.
 */
import type { Clock } from '../../shared/ports.ts';
import type { BlockError, BlockRequest } from './block-device.ts';
import { ClientOperation } from './piece.ts';
import type { VolumeCounters } from './volume-context.ts';

export class ClientOperations {
  readonly #clock: Clock;
  readonly #counters: VolumeCounters;
  /** In the order of their start. */
  readonly #open = new Set<ClientOperation>();

  constructor(clock: Clock, counters: VolumeCounters) {
    this.#clock = clock;
    this.#counters = counters;
  }

  get count(): number {
    return this.#open.size;
  }

  begin(request: BlockRequest): ClientOperation {
    const operation = new ClientOperation(request, this.#clock.now());
    this.#open.add(operation);
    return operation;
  }

  /** One part of the operation is done; the last one answers the client. */
  finishPart(operation: ClientOperation, error: BlockError | null): void {
    if (error !== null) operation.error ??= error;
    operation.remaining -= 1;
    if (operation.remaining > 0) return;
    const request = operation.request;
    if (request === null) return;
    this.#count(request, operation.startedMs);
    this.#answer(operation, request, operation.error);
  }

  /** Answers before the parts are done; they go on without the client. */
  fail(operation: ClientOperation, error: BlockError): void {
    const request = operation.request;
    if (request !== null) this.#answer(operation, request, error);
  }

  failAll(error: BlockError): void {
    for (const operation of [...this.#open]) this.fail(operation, error);
  }

  /** Those that began more than `ageMs` ago. */
  olderThan(ageMs: number): readonly ClientOperation[] {
    const old: ClientOperation[] = [];
    for (const operation of this.#open) {
      if (this.#clock.now() - operation.startedMs < ageMs) break;
      old.push(operation);
    }
    return old;
  }

  #answer(operation: ClientOperation, request: BlockRequest, error: BlockError | null): void {
    this.#open.delete(operation);
    operation.request = null;
    // A replica in this process may still be writing into the buffer of a read that was given up.
    if (error !== null && request.op === 'read') request.data = null;
    request.error = error;
    request.onDone(request);
  }

  #count(request: BlockRequest, startedMs: number): void {
    const counters = this.#counters;
    const micros = (this.#clock.now() - startedMs) * 1000;
    if (request.op === 'read') {
      counters.readOps += 1;
      counters.readBytes += request.length;
      counters.readMicros += micros;
    } else if (request.op === 'write') {
      counters.writeOps += 1;
      counters.writeBytes += request.length;
      counters.writeMicros += micros;
    }
  }
}

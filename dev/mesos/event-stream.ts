/**
 * The sending side of an event stream: frames records and writes them to an HTTP response, cut as
 * the misbehaviour switch says. Well behaved, one record is one HTTP chunk, as recorded from a real
 * Mesos.
 */

import type { ServerResponse } from 'node:http';
import { encodeRecord } from '../../shared/mesos/recordio.ts';
import type { MisbehaviourSwitch } from './misbehaviour.ts';

/** Records that arrive within this time leave together when chunking is `coalesce`. */
const COALESCE_MS = 20;

export class EventStream {
  readonly #response: ServerResponse;
  readonly #misbehaviour: MisbehaviourSwitch;
  readonly #onClosed: () => void;
  #pending: Buffer[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isOpen = true;

  /** Writes the head of the answer. `onClosed` is called once, when the other side goes away. */
  constructor(
    response: ServerResponse,
    headers: Readonly<Record<string, string>>,
    misbehaviour: MisbehaviourSwitch,
    onClosed: () => void,
  ) {
    this.#response = response;
    this.#misbehaviour = misbehaviour;
    this.#onClosed = onClosed;
    response.writeHead(200, headers);
    response.flushHeaders();
    response.socket?.setNoDelay(true);
    response.on('close', () => {
      if (!this.#isOpen) return;
      this.#isOpen = false;
      this.#onClosed();
    });
    response.on('error', () => undefined); // the `close` that follows says it all
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  send(payload: Buffer): void {
    if (!this.#isOpen || this.#misbehaviour.current.silence) return;
    const record = encodeRecord(payload);
    switch (this.#misbehaviour.current.chunking) {
      case 'record':
        this.#flush();
        this.#response.write(record);
        break;
      case 'coalesce':
        this.#pending.push(record);
        this.#timer ??= setTimeout(() => this.#flush(), COALESCE_MS);
        break;
      case 'bytes':
        this.#flush();
        this.#writeInPieces(record, () => 1);
        break;
      case 'random':
        this.#flush();
        this.#writeInPieces(record, () => 1 + Math.floor(Math.random() * 100));
        break;
    }
  }

  #writeInPieces(record: Buffer, nextSize: () => number): void {
    for (let at = 0; at < record.length; ) {
      const size = nextSize();
      this.#response.write(record.subarray(at, at + size));
      at += size;
    }
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#pending.length === 0) return;
    this.#response.write(Buffer.concat(this.#pending));
    this.#pending = [];
  }

  /** Ends the answer properly, with a last chunk. */
  end(): void {
    if (!this.#isOpen) return;
    this.#flush();
    this.#isOpen = false;
    this.#response.end();
  }

  /** Breaks the connection in the middle, as a dying process does. */
  destroy(): void {
    clearTimeout(this.#timer);
    this.#isOpen = false;
    this.#response.destroy();
  }
}

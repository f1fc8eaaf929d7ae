/**
 * The agent's end of one executor's subscription: events in the content type that the executor
 * asked for.
 */

import { type ContentType, encode } from '../../shared/mesos/codec.ts';
import type { ExecutorEvent } from '../../shared/mesos/messages.ts';
import type { EventStream } from './event-stream.ts';

export class ExecutorConnection {
  readonly #stream: EventStream;
  readonly #contentType: ContentType;

  constructor(stream: EventStream, contentType: ContentType) {
    this.#stream = stream;
    this.#contentType = contentType;
  }

  send(event: ExecutorEvent): void {
    this.#stream.send(encode('executor.Event', event, this.#contentType));
  }

  /** Another subscription of the same executor takes over. */
  end(): void {
    this.#stream.end();
  }

  destroy(): void {
    this.#stream.destroy();
  }
}

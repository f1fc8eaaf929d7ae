/**
 * The agent's end of one executor's subscription: events in the content type that the executor
 * asked for.
 */

import type { ContentType } from '../../shared/mesos/codec.ts';
import type { ExecutorEvent } from '../../shared/mesos/messages.ts';
import { encodeAnswer } from './answer-codec.ts';
import type { EventStream } from './event-stream.ts';

export class ExecutorConnection {
  readonly #stream: EventStream;
  readonly #contentType: ContentType;

  constructor(stream: EventStream, contentType: ContentType) {
    this.#stream = stream;
    this.#contentType = contentType;
  }

  send(event: ExecutorEvent): void {
    this.#stream.send(encodeAnswer('executor.Event', event, this.#contentType));
  }

  /** Another subscription of the same executor takes over. */
  end(): void {
    this.#stream.end();
  }

  destroy(): void {
    this.#stream.destroy();
  }
}

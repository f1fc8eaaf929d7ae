/**
 * One client of a stream of server-sent events: headers, messages, heartbeats, and the end of clients
 * that do not read. A client that takes nothing for `STALL_MS`, or lets too much pile up, is dropped;
 * it reconnects by itself when it lives.
 */
import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';

/** Proxies cut silent connections after 30 s or more; clients call a stream stale after 15 s. */
const HEARTBEAT_MS = 5000;
const STALL_MS = 15_000;
/** Several snapshots of a cluster of a thousand disks; beyond it the client is lost anyway. */
const QUEUED_BYTES_MAX = 8 * 1024 * 1024;
/** How long a browser waits before it reconnects. */
const RETRY_MS = 2000;

export interface StreamMessage {
  readonly name: string;
  readonly id: number | null;
  /** One line of JSON. */
  readonly data: string;
}

export class EventSource {
  readonly #raw: ServerResponse;
  readonly #heartbeat: NodeJS.Timeout;
  #lastSentAtMs = performance.now();
  #blockedSinceMs: number | null = null;
  #onEnd: (() => void) | null = null;

  /** Takes the connection over from fastify; `headers` are those set on the reply so far. */
  constructor(reply: FastifyReply) {
    reply.hijack();
    this.#raw = reply.raw;
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) this.#raw.setHeader(name, value);
    }
    this.#raw.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // Asks nginx not to collect the stream before it passes it on.
      'x-accel-buffering': 'no',
    });
    this.#raw.write(`retry: ${RETRY_MS}\n\n`);
    this.#raw.on('drain', () => {
      this.#blockedSinceMs = null;
    });
    // A reset by the peer is its right; `close` follows and ends everything.
    this.#raw.on('error', () => this.#raw.destroy());
    this.#raw.on('close', () => this.#end());
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
    this.#heartbeat.unref();
  }

  /** `listener` runs once, when the connection has ended for whatever reason. */
  onEnd(listener: () => void): void {
    this.#onEnd = listener;
    if (this.#raw.closed || this.#raw.destroyed) this.#end();
  }

  /** What was sent before has not been taken yet: whoever can skip a message does. */
  get isBlocked(): boolean {
    return this.#blockedSinceMs !== null;
  }

  send(message: StreamMessage): void {
    const id = message.id === null ? '' : `id: ${message.id}\n`;
    this.#write(`event: ${message.name}\n${id}data: ${message.data}\n\n`);
  }

  close(): void {
    this.#raw.end();
  }

  #beat(): void {
    const now = performance.now();
    if (this.#blockedSinceMs !== null && now - this.#blockedSinceMs >= STALL_MS) {
      this.#raw.destroy();
      return;
    }
    // Half a period of tolerance: timers are late, never early.
    if (now - this.#lastSentAtMs >= HEARTBEAT_MS / 2) this.#write(': alive\n\n');
  }

  #write(bytes: string): void {
    if (this.#raw.destroyed || this.#raw.writableEnded) return;
    if (this.#raw.writableLength > QUEUED_BYTES_MAX) {
      this.#raw.destroy();
      return;
    }
    this.#lastSentAtMs = performance.now();
    if (!this.#raw.write(bytes)) this.#blockedSinceMs ??= this.#lastSentAtMs;
  }

  #end(): void {
    clearInterval(this.#heartbeat);
    const listener = this.#onEnd;
    this.#onEnd = null;
    listener?.();
  }
}

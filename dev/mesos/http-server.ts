/**
 * The HTTP layer below all APIs of the stand-in: one server, bodies read whole, answers with the
 * exact status codes and texts of Mesos, and content negotiation in Mesos' order.
 */

import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { assert } from '../../shared/base/assert.ts';
import { describeError } from '../../shared/base/errors.ts';
import { type ContentType, JSON_TYPE, PROTOBUF_TYPE } from '../../shared/mesos/codec.ts';

/** A larger body than any framework sends; beyond it the answer is 413. */
const BODY_BYTES_MAX = 64 * 1024 * 1024;

export type Request = {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  readonly response: ServerResponse;
};

export type Handler = (request: Request) => void | Promise<void>;

/** Throw it from a handler to answer with this status and text. */
export class HttpRefusal extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, text: string, headers: Readonly<Record<string, string>> = {}) {
    super(text);
    this.status = status;
    this.headers = headers;
  }
}

/** Mesos answers some refusals with nothing but the status line's words and a full stop. */
export function bareRefusal(status: number): HttpRefusal {
  return new HttpRefusal(status, `${status} ${STATUS_CODES[status] ?? ''}.`);
}

export class HttpServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(handler: Handler) {
    this.#server = createServer(
      { requestTimeout: 0, keepAliveTimeout: 60_000 },
      (incoming, response) => {
        void serve(incoming, response, handler);
      },
    );
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  /** Listens and returns the port; `port` 0 takes any free one. */
  async listen(host: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    const address = this.#server.address() as AddressInfo | null;
    assert(address !== null, 'a listening server has an address');
    return address.port;
  }

  /** Cuts all connections, as the death of the process would. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

async function serve(
  incoming: IncomingMessage,
  response: ServerResponse,
  handler: Handler,
): Promise<void> {
  try {
    const body = await readBody(incoming);
    const url = new URL(incoming.url ?? '/', 'http://stand-in');
    await handler({
      method: incoming.method ?? 'GET',
      path: decodeURIComponent(url.pathname),
      query: url.searchParams,
      headers: incoming.headers,
      body,
      response,
    });
  } catch (error) {
    if (response.headersSent) response.destroy();
    else if (error instanceof HttpRefusal) {
      answerText(response, error.status, error.message, error.headers);
    } else answerText(response, 500, describeError(error));
  }
}

async function readBody(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming) {
    length += (chunk as Buffer).length;
    if (length > BODY_BYTES_MAX) throw new HttpRefusal(413, 'Request entity too large');
    chunks.push(chunk as Buffer);
  }
  const body = Buffer.concat(chunks);
  if (incoming.headers['content-encoding'] !== 'gzip') return body;
  try {
    return gunzipSync(body, { maxOutputLength: BODY_BYTES_MAX });
  } catch (error) {
    throw new HttpRefusal(400, `Failed to decompress body: ${describeError(error)}`);
  }
}

export function answerText(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    ...headers,
    ...(text === '' ? {} : { 'Content-Type': 'text/plain; charset=utf-8' }),
    'Content-Length': String(Buffer.byteLength(text)),
  });
  response.end(text);
}

export function answerBytes(response: ServerResponse, contentType: string, body: Buffer): void {
  response.writeHead(200, { 'Content-Type': contentType, 'Content-Length': String(body.length) });
  response.end(body);
}

export function answerJson(response: ServerResponse, value: unknown): void {
  answerBytes(response, JSON_TYPE, Buffer.from(JSON.stringify(value)));
}

/** Method and Content-Type checks of every v1 endpoint, in Mesos' order. */
export function requireCall(request: Request): ContentType {
  if (request.method !== 'POST') {
    throw new HttpRefusal(
      405,
      `405 Method Not Allowed. Expecting one of { 'POST' }, but received '${request.method}'.`,
      { Allow: 'POST' },
    );
  }
  const contentType = request.headers['content-type'];
  if (contentType === undefined) {
    throw new HttpRefusal(400, "Expecting 'Content-Type' to be present");
  }
  if (contentType !== JSON_TYPE && contentType !== PROTOBUF_TYPE) {
    throw new HttpRefusal(
      415,
      "Expecting 'Content-Type' of application/json or application/x-protobuf",
    );
  }
  return contentType;
}

/** Which content type the answer has: JSON is tried first; no Accept header means JSON. */
export function requireAccept(request: Request): ContentType {
  const accept = request.headers.accept;
  if (accept === undefined) return JSON_TYPE;
  const ranges = accept.split(',').map((range) => (range.split(';')[0] ?? '').trim().toLowerCase());
  for (const type of [JSON_TYPE, PROTOBUF_TYPE] as const) {
    const isAccepted = ranges.some(
      (range) => range === '*/*' || range === 'application/*' || range === type,
    );
    if (isAccepted) return type;
  }
  throw new HttpRefusal(
    406,
    "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
  );
}

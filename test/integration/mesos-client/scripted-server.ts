/**
 * An HTTP server that answers POSTs as a test says: for what a well-built master or agent never does.
 * Bodies are mostly JSON, so that scripts can be read.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface Received {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** Of a JSON request; empty for any other. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly bytes: Buffer;
  readonly response: ServerResponse;
}

export class ScriptedServer {
  readonly received: Received[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(answer: (request: Received, index: number) => void) {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const bytes = Buffer.concat(chunks);
        const isJson = request.headers['content-type'] === 'application/json';
        const text = isJson ? bytes.toString('utf8') : '';
        const received: Received = {
          path: request.url ?? '',
          headers: request.headers,
          body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
          bytes,
          response,
        };
        this.received.push(received);
        answer(received, this.received.length - 1);
      });
    });
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async listen(
    answer: (request: Received, index: number) => void,
    at: { readonly port: number } | { readonly path: string } = { port: 0 },
  ): Promise<ScriptedServer> {
    const server = new ScriptedServer(answer);
    await new Promise<void>((resolve) => {
      if ('path' in at) server.#server.listen(at.path, resolve);
      else server.#server.listen(at.port, '127.0.0.1', resolve);
    });
    return server;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get types(): unknown[] {
    return this.received.map(({ body }) => body['type']);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}

export function record(event: object): string {
  const text = JSON.stringify(event);
  return `${Buffer.byteLength(text)}\n${text}`;
}

/** Begins a stream with these events; it stays open. */
export function openStream(
  { response }: Received,
  events: readonly object[],
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(200, { 'Content-Type': 'application/json', ...headers });
  response.flushHeaders();
  for (const event of events) response.write(record(event));
}

export function refuse({ response }: Received, status: number, text = ''): void {
  response.writeHead(status, { 'Content-Type': 'text/plain' });
  response.end(text);
}

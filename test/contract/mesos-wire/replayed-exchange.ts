/**
 * One recorded request sent again: the bytes that are sent (with ids translated), the answer beside the
 * recorded one, and the events of its stream as they come.
 */

import { type IncomingMessage, request } from 'node:http';
import { decode, encode, JSON_TYPE, PROTOBUF_TYPE } from '../../../shared/mesos/codec.ts';
import { RecordDecoder } from '../../../shared/mesos/recordio.ts';
import { type Exchange, headerOf } from './recordings.ts';

export type Json = Readonly<Record<string, unknown>>;

export type Headers = Readonly<Record<string, string>>;

/** Both sides of one exchange. */
export type Answer = {
  /** As in the recordings, such as `s1-subscribe-json/02-decline`. */
  readonly name: string;
  readonly recorded: number;
  readonly given: number;
  readonly recordedHeaders: Headers;
  readonly givenHeaders: Headers;
  readonly recordedBody: unknown;
  readonly givenBody: unknown;
};

export type CallKind = 'scheduler.Call' | 'executor.Call' | 'master.Call';

export function callKindOf(path: string): CallKind {
  if (path.endsWith('/api/v1/executor')) return 'executor.Call';
  return path === '/api/v1' ? 'master.Call' : 'scheduler.Call';
}

/** The body as it is sent; `adapt` translates its JSON form. */
export async function bodyOf(
  exchange: Exchange,
  adapt: (json: string) => string | Promise<string>,
): Promise<Buffer> {
  if (headerOf(exchange.headers, 'Content-Type') !== PROTOBUF_TYPE) {
    return Buffer.from(await adapt(exchange.requestBody.toString('utf8')));
  }
  const kind = callKindOf(exchange.path);
  try {
    const json = encode(kind, decode(kind, exchange.requestBody, PROTOBUF_TYPE), JSON_TYPE);
    return encode(
      kind,
      decode(kind, Buffer.from(await adapt(json.toString())), JSON_TYPE),
      PROTOBUF_TYPE,
    );
  } catch {
    return exchange.requestBody; // malformed on purpose
  }
}

/** Headers in which a framework, or an operator's tool, takes an interest. */
const HEADERS = ['content-type', 'location', 'allow', 'www-authenticate'];

function recordedHeaders(exchange: Exchange): Headers {
  return pickHeaders(
    Object.fromEntries(
      exchange.responseHeaders.map(([name, value]) => [name.toLowerCase(), value]),
    ),
  );
}

function pickHeaders(all: Readonly<Record<string, string | string[] | undefined>>): Headers {
  const found: Record<string, string> = {};
  for (const name of HEADERS) if (all[name] !== undefined) found[name] = String(all[name]);
  if (all['mesos-stream-id'] !== undefined) found['mesos-stream-id'] = 'present';
  return found;
}

/** The value of an answer's body: JSON, a message, or text. */
function bodyValue(contentType: string | undefined, body: Buffer): unknown {
  if (body.length === 0) return '';
  if (contentType === JSON_TYPE) return JSON.parse(body.toString('utf8'));
  if (contentType === PROTOBUF_TYPE) return plain(decode('master.Response', body, PROTOBUF_TYPE));
  return body.toString('utf8');
}

/** As recorders write it: bytes in base64. */
export function plain(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString('base64');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

export type SendOptions = {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** A stream that was recorded as one has begun; its events are read by `followStream`. */
  readonly onStream: (incoming: IncomingMessage) => void;
};

export function sendExchange(exchange: Exchange, options: SendOptions): Promise<Answer> {
  const { url, headers, body, onStream } = options;
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: exchange.method, headers }, (incoming) => {
      const answer = (givenBody: unknown): Answer => ({
        name: exchange.name,
        recorded: exchange.status ?? 0,
        given: incoming.statusCode ?? 0,
        recordedHeaders: recordedHeaders(exchange),
        givenHeaders: pickHeaders(incoming.headers),
        recordedBody: bodyValue(
          headerOf(exchange.responseHeaders, 'Content-Type'),
          exchange.events === undefined ? exchange.responseBody : Buffer.alloc(0),
        ),
        givenBody,
      });
      if (incoming.headers['transfer-encoding'] === 'chunked') {
        if (exchange.events === undefined) incoming.destroy();
        else onStream(incoming);
        incoming.on('error', () => undefined);
        resolve(answer(''));
        return;
      }
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('error', reject);
      incoming.on('end', () => {
        resolve(answer(bodyValue(incoming.headers['content-type'], Buffer.concat(chunks))));
      });
    });
    outgoing.on('error', (error) => {
      // The real one died of this request: no answer at all is the right answer.
      if (exchange.status === undefined) resolve(noAnswer(exchange));
      else reject(error);
    });
    outgoing.end(body);
  });
}

function noAnswer({ name }: Exchange): Answer {
  const headers = { recordedHeaders: {}, givenHeaders: {} };
  return { name, recorded: 0, given: 0, ...headers, recordedBody: '', givenBody: '' };
}

/** Hands over each event of a stream in the form of the recordings. */
export function followStream(
  exchange: Exchange,
  incoming: IncomingMessage,
  onEvent: (event: Json) => void,
): void {
  const isProtobuf = headerOf(exchange.responseHeaders, 'Content-Type') === PROTOBUF_TYPE;
  const kind = { 'executor.Call': 'executor.Event', 'scheduler.Call': 'scheduler.Event' } as const;
  const call = callKindOf(exchange.path);
  const decoder = new RecordDecoder();
  incoming.on('data', (chunk: Buffer) => {
    for (const record of decoder.push(chunk)) {
      const event =
        isProtobuf && call !== 'master.Call'
          ? plain(decode(kind[call], record, PROTOBUF_TYPE))
          : JSON.parse(record.toString('utf8'));
      onEvent(event as Json);
    }
  });
}

export function pick(value: unknown, ...path: string[]): unknown {
  let current = value;
  for (const name of path) {
    if (typeof current !== 'object' || current === null) return undefined;
    current = (current as Json)[name];
  }
  return current;
}

/** What makes two events the same in a replay: type, whom it is about, and the state it tells. */
export function keyOf(event: Json): string {
  const status =
    pick(event, 'update', 'status') ?? pick(event, 'update_operation_status', 'status');
  return JSON.stringify([
    event['type'],
    pick(status, 'task_id', 'value') ??
      pick(status, 'operation_id', 'value') ??
      pick(event, 'launch', 'task', 'task_id', 'value') ??
      pick(event, 'acknowledged', 'uuid') ??
      null,
    pick(status, 'state') ?? null,
    pick(event, 'failure', 'executor_id', 'value') ?? null,
    pick(event, 'failure', 'status') ?? null,
  ]);
}

export async function poll<T>(find: () => T | undefined, waitMs: number): Promise<T | undefined> {
  const deadline = Date.now() + waitMs;
  for (;;) {
    const found = find();
    if (found !== undefined || Date.now() > deadline) return found;
    await sleep(5);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}

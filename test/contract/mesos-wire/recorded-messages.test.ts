/**
 * Every message that a real Mesos sent, or took, in the recordings: decoded and encoded again it
 * must be the same bytes, so that no field is missing from our schema; and it must mean the same in
 * JSON.
 */

import { expect } from 'chai';
import {
  decode,
  encode,
  JSON_TYPE,
  type MessageKinds,
  PROTOBUF_TYPE,
} from '../../../shared/mesos/codec.ts';
import { UNKNOWN_FIELDS } from '../../../shared/mesos/protobuf-codec.ts';
import { RecordDecoder } from '../../../shared/mesos/recordio.ts';
import {
  type Exchange,
  hasRecordings,
  headerOf,
  recordedExchanges,
  WHY_SKIPPED,
} from './recordings.ts';

type Recorded = {
  readonly where: string;
  readonly kind: keyof MessageKinds;
  readonly bytes: Buffer;
  /** What the recorder decoded with another implementation. */
  readonly expected: unknown;
};

function callKind(path: string): 'scheduler.Call' | 'executor.Call' | 'master.Call' | undefined {
  if (path.endsWith('/api/v1/scheduler')) return 'scheduler.Call';
  if (path.endsWith('/api/v1/executor')) return 'executor.Call';
  return path.endsWith('/api/v1') ? 'master.Call' : undefined;
}

function messagesOf(exchange: Exchange): Recorded[] {
  const kind = callKind(exchange.path);
  const found: Recorded[] = [];
  if (kind === undefined) return found;
  const isRefused = exchange.status === undefined || exchange.status >= 400;
  if (headerOf(exchange.headers, 'Content-Type') === PROTOBUF_TYPE && !isRefused) {
    const bytes = exchange.requestBody;
    found.push({ where: `${exchange.name} request`, kind, bytes, expected: undefined });
  }
  if (headerOf(exchange.responseHeaders, 'Content-Type') !== PROTOBUF_TYPE || isRefused)
    return found;
  if (exchange.events === undefined) {
    const bytes = exchange.responseBody;
    found.push({
      where: `${exchange.name} answer`,
      kind: 'master.Response',
      bytes,
      expected: undefined,
    });
    return found;
  }
  const events = exchange.events;
  const eventKind = kind === 'scheduler.Call' ? 'scheduler.Event' : 'executor.Event';
  const records = new RecordDecoder().push(exchange.responseBody);
  records.forEach((bytes, index) => {
    const where = `${exchange.name} event ${index}`;
    found.push({ where, kind: eventKind, bytes, expected: events[index] });
  });
  return found;
}

/** As the recorder wrote it: bytes in base64. */
function toRecorded(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString('base64');
  // JSON.parse rounded the recorder's 64-bit numbers.
  if (typeof value === 'string' && /^\d{16,}$/.test(value)) return Number(value);
  if (Array.isArray(value)) return value.map(toRecorded);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toRecorded(item)]));
}

function unknownFieldsIn(value: unknown, at: string): string[] {
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return [];
  // The one known exception, see the note at AgentInfo in the proto file.
  const isAgentInfo = /agent_info$|recovered_agents\.\d+$/.test(at);
  const own = UNKNOWN_FIELDS in value && !isAgentInfo ? [at] : [];
  const below = Object.entries(value).map(([key, item]) => unknownFieldsIn(item, `${at}.${key}`));
  return [...own, ...below.flat()];
}

describe('recorded messages of a real Mesos', () => {
  let messages: Recorded[] = [];

  before(function () {
    if (!hasRecordings()) {
      console.warn(`      skipped: ${WHY_SKIPPED}`);
      this.skip();
    }
    messages = recordedExchanges().flatMap(messagesOf);
  });

  it('protobuf: decoded and encoded again, the same bytes', () => {
    expect(messages.length).to.be.greaterThan(300);
    for (const { where, kind, bytes } of messages) {
      const again = encode(kind, decode(kind, bytes, PROTOBUF_TYPE), PROTOBUF_TYPE);
      // The operator API writes that field 7 of AgentInfo in its place, the event streams at the end.
      if (kind === 'master.Response') expect(again.length, where).to.equal(bytes.length);
      else expect(again.toString('hex'), where).to.equal(bytes.toString('hex'));
    }
  });

  it('protobuf: no field is unknown to our schema', () => {
    for (const { where, kind, bytes } of messages) {
      expect(unknownFieldsIn(decode(kind, bytes, PROTOBUF_TYPE), kind), where).to.deep.equal([]);
    }
  });

  it('protobuf: events decode to what another implementation decoded', () => {
    for (const { where, kind, bytes, expected } of messages) {
      if (expected === undefined) continue;
      const decoded = toRecorded(decode(kind, bytes, PROTOBUF_TYPE));
      expect(decoded, where).to.deep.equal(expected);
    }
  });

  it('JSON: every protobuf message survives the way through JSON', () => {
    for (const { where, kind, bytes } of messages) {
      const message = decode(kind, bytes, PROTOBUF_TYPE);
      const findings = { ignored: [] };
      const back = decode(kind, encode(kind, message, JSON_TYPE), JSON_TYPE, findings);
      expect(toRecorded(back), where).to.deep.equal(toRecorded(message));
      expect(findings.ignored, where).to.deep.equal([]);
    }
  });

  it('JSON: events of recorded streams decode, with no field unknown', () => {
    for (const exchange of recordedExchanges()) {
      const kind = callKind(exchange.path);
      const isJson = headerOf(exchange.responseHeaders, 'Content-Type') === JSON_TYPE;
      if (exchange.events === undefined || !isJson || kind === undefined) continue;
      const eventKind = kind === 'scheduler.Call' ? 'scheduler.Event' : 'executor.Event';
      const records = new RecordDecoder().push(exchange.responseBody);
      expect(records.length, exchange.name).to.equal(exchange.events.length);
      records.forEach((bytes, index) => {
        const findings: { ignored: string[] } = { ignored: [] };
        const decoded = decode(eventKind, bytes, JSON_TYPE, findings);
        const ignored = findings.ignored.filter(
          (field) => !field.endsWith('agent_info.checkpoint'),
        );
        expect(ignored, `${exchange.name} event ${index}`).to.deep.equal([]);
        expect(decoded.type, exchange.name).to.equal(exchange.events?.[index]?.['type']);
      });
    }
  });
});

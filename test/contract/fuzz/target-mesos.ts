/**
 * What a Mesos master or agent sends: streams of records, in protobuf and JSON, to the scheduler and to the
 * executor; answers of the operator API. Recordings of a real one are used where they exist.
 */
import { expect } from 'chai';
import { present } from '../../../shared/base/assert.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { KiB, MiB } from '../../../shared/base/units.ts';
import {
  type ContentType,
  decode,
  encode,
  JSON_TYPE,
  type MessageKinds,
  PROTOBUF_TYPE,
} from '../../../shared/mesos/codec.ts';
import { encodeRecord, RecordDecoder } from '../../../shared/mesos/recordio.ts';
import { messageType } from '../../../shared/mesos/schema.ts';
import { hasRecordings, headerOf, recordedExchanges } from '../mesos-wire/recordings.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { decodeOrRefuse } from './fuzz-target.ts';
import { EXTREMES } from './mutation.ts';
import { anyMessage } from './protobuf-grammar.ts';

const EVENTS = ['scheduler.Event', 'executor.Event', 'master.Event', 'master.Response'] as const;
/** Of recordings: larger ones only cost time. */
const RECORDING_BYTES_MAX = 20_000;
const CORPUS_COUNT = 8;
/** Small, so that the bound itself is met. */
const RECORD_BYTES_MAX = 256 * KiB;

/** `name`: such as `mesos-scheduler.Event-json`. */
export function mesosTarget(name: string): FuzzTarget {
  const [, kindName, format] = name.split('-');
  const kind = present(
    EVENTS.find((event) => event === kindName),
    name,
  );
  return messageTarget(name, kind, format === 'json' ? JSON_TYPE : PROTOBUF_TYPE);
}

function messageTarget(
  name: string,
  kind: (typeof EVENTS)[number],
  contentType: ContentType,
): FuzzTarget {
  const prng = new Prng(`corpus ${kind} ${contentType}`);
  const generate = (draw: Prng): Buffer => generated(kind, contentType, draw);
  const recorded = kind === 'scheduler.Event' ? recordedEvents(contentType) : [];
  const corpus = [...recorded, ...Array.from({ length: CORPUS_COUNT }, () => generate(prng))];
  return {
    name,
    corpus,
    generate,
    memoryBytesMax: 4 * MiB,
    run: (input) => {
      const message = decodeOrRefuse(() => decode(kind, input, contentType));
      // What was accepted is an object of the kind; it can be written again, or says which field can not.
      if (message === null) return;
      expect(message).to.be.an('object');
      decodeOrRefuse(() => encode(kind, message as MessageKinds[typeof kind], PROTOBUF_TYPE));
    },
  };
}

function generated(kind: keyof MessageKinds, contentType: ContentType, prng: Prng): Buffer {
  const bytes = anyMessage(messageType(kind), prng);
  if (contentType === PROTOBUF_TYPE) return bytes;
  if (prng.chance(0.2)) return hostileJson(prng);
  return encode(kind, decode(kind, bytes, PROTOBUF_TYPE), JSON_TYPE);
}

/** Text that is JSON, and no message of anybody. */
function hostileJson(prng: Prng): Buffer {
  const depth = prng.pick([1, 100, 20_000]);
  const text = prng.pick([
    () => '['.repeat(depth) + ']'.repeat(depth),
    () => `${'{"offers":'.repeat(depth)}1${'}'.repeat(depth)}`,
    () => `{"type":${prng.pick(EXTREMES)}}`,
    () => '{"type":"OFFERS","offers":{"offers":{"id":{"value":null}}}}',
    () => '{"type":"SUBSCRIBED","__proto__":{"subscribed":1},"constructor":{}}',
    () => `{"type":"HEARTBEAT","x":${'9'.repeat(depth)}}`,
    () => 'null',
    () => '',
  ])();
  return Buffer.from(text);
}

function recordedEvents(contentType: ContentType): readonly Buffer[] {
  if (!hasRecordings()) return [];
  const events: Buffer[] = [];
  for (const exchange of recordedExchanges()) {
    if (headerOf(exchange.responseHeaders, 'content-type') !== contentType) continue;
    if (exchange.events === undefined) continue;
    for (const record of new RecordDecoder().push(exchange.responseBody)) {
      if (record.length > 0 && record.length < RECORDING_BYTES_MAX) events.push(record);
    }
  }
  const step = Math.ceil(events.length / CORPUS_COUNT);
  return events.filter((_, index) => index % step === 0);
}

export function recordTarget(): FuzzTarget {
  const records = ['hello', '', 'x'.repeat(3000), '7\nabc'].map((text) =>
    encodeRecord(Buffer.from(text)),
  );
  return {
    name: 'recordio',
    corpus: [Buffer.concat(records), ...records],
    generate: (prng) =>
      Buffer.from(`${prng.pick(EXTREMES)}\n${'y'.repeat(prng.below(300))}\n12\nabc`),
    memoryBytesMax: MiB,
    run: (input, prng) => {
      const decoder = new RecordDecoder(RECORD_BYTES_MAX);
      for (let at = 0; at < input.length; ) {
        const chunk = input.subarray(at, at + prng.pick([1, 7, 1000]));
        at += chunk.length;
        const records = decodeOrRefuse(() => decoder.push(chunk));
        if (records === null) return;
        for (const record of records) expect(record.length).to.be.at.most(RECORD_BYTES_MAX);
      }
    },
  };
}

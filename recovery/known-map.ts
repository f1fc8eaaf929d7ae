/** A kept map, from bytes (of a disk or an executor) to values. Throws `corrupt` or `protocol`. */
import { StorageError } from '../shared/base/errors.ts';
import type { ControlCodec } from '../shared/node/control-codec.ts';
import { decodeDurableMap } from '../shared/wire/durable-map.ts';
import type { KnownMap } from './witness.ts';

export function readKnownMap(codec: ControlCodec, bytes: Uint8Array): KnownMap {
  const { term, version, writtenAtMs, body } = decodeDurableMap(bytes);
  const message = codec.decodeManagerMessage(body);
  if (message.kind !== 'map' || message.map.version !== version || message.map.term !== term) {
    throw new StorageError(
      'corrupt',
      `Kept map ${version} holds something else than map ${version}`,
    );
  }
  const facts = new Map<string, string>();
  for (const { key, value } of message.facts ?? []) if (value !== null) facts.set(key, value);
  return { map: message.map, facts, writtenAtMs };
}

/** Control messages between manager, executors and among executors: their bytes, and what a map does. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { MapIndex } from '../../../executor/map-index.ts';
import { present } from '../../../shared/base/assert.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { MiB } from '../../../shared/base/units.ts';
import type { ManagerMessage } from '../../../shared/model/control.ts';
import { loadControlCodec } from '../../../shared/node/control-codec.ts';
import { PROJECT_ROOT } from '../../tidy/source-tree.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { decodeOrRefuse } from './fuzz-target.ts';
import { anyMessage } from './protobuf-grammar.ts';

const PROTO = join(PROJECT_ROOT, 'proto');
const CORPUS_COUNT = 12;

type Codec = ReturnType<typeof loadControlCodec>;

/** By name of the target: the message, and what is done with its bytes. */
const MESSAGES: Readonly<
  Record<string, { readonly type: string; decode(codec: Codec, input: Uint8Array): unknown }>
> = {
  'control-node': {
    type: 'NodeMessage',
    decode: (codec, input) => codec.decodeNodeMessage(input),
  },
  'control-manager': {
    type: 'ManagerMessage',
    decode: (codec, input) => takeMap(codec.decodeManagerMessage(input)),
  },
  'control-grant-request': {
    type: 'GrantRequest',
    decode: (codec, input) => codec.decodeGrantRequest(input),
  },
  'control-grant-reply': {
    type: 'GrantReply',
    decode: (codec, input) => codec.decodeGrantReply(input),
  },
};

export function controlTarget(name: string): FuzzTarget {
  const message = present(MESSAGES[name], name);
  const codec = loadControlCodec(PROTO);
  const source = readFileSync(join(PROTO, 'cistern', 'control.proto'), 'utf8');
  const { root } = protobuf.parse(source, { keepCase: false });
  const type = root.resolveAll().lookupType(`cistern.control.${message.type}`);
  const prng = new Prng(`corpus ${name}`);
  return {
    name,
    corpus: Array.from({ length: CORPUS_COUNT }, () => anyMessage(type, prng)),
    generate: (draw) => anyMessage(type, draw),
    memoryBytesMax: 2 * MiB,
    run: (input) => {
      decodeOrRefuse(() => message.decode(codec, input));
    },
  };
}

/** A map that was accepted can be taken over, whatever it refers to. */
function takeMap(message: ManagerMessage): void {
  const index = new MapIndex();
  if (message.kind === 'map') index.apply(message.map);
  if (message.kind !== 'delta') return;
  const { delta } = message;
  const { nodes, disks, pgs, volumes, clusterId, term, nextVolume } = delta;
  const version = delta.fromVersion;
  index.apply({ nodes, disks, pgs, volumes, clusterId, term, nextVolume, version });
  index.apply(delta);
}

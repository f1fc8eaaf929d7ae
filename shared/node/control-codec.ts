/**
 * Control messages ⇄ bytes: protobuf by reflection over `proto/cistern/control.proto`. Decoded
 * values are checked (ids, known words, safe numbers) before anyone acts on them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { describeError, StorageError } from '../base/errors.ts';
import { diskId, nodeId, pgId, volumeId } from '../base/ids.ts';
import {
  type ClusterMap,
  type ClusterMapDelta,
  DURABILITIES,
  type MapDisk,
  type MapNode,
  type MapPg,
  type MapVolume,
  PG_MEMBERS_MAX,
} from '../model/cluster-map.ts';
import type {
  ClusterFact,
  GrantReply,
  GrantRequest,
  ManagerMessage,
  NodeMessage,
} from '../model/control.ts';
import type { NodeHello } from '../model/node-report.ts';
import { SCRUB_ORDERS_MAX } from '../model/scrub.ts';
import {
  atMost,
  each,
  type Fields,
  flag,
  id,
  ids,
  optionalText,
  part,
  protocolError,
  size,
  text,
  word,
} from './control-fields.ts';
import { readReport, readScrubOrder } from './report-fields.ts';

/** A map of 128k PGs takes about 4 MiB; everything above this is hostile. */
export const CONTROL_MESSAGE_BYTES_MAX = 64 * 1024 * 1024;

export interface ControlCodec {
  encodeNodeMessage(message: NodeMessage): Buffer;
  decodeNodeMessage(bytes: Uint8Array): NodeMessage;
  /** The bytes of a map or delta are shared by all that encode the same value: nobody writes to them. */
  encodeManagerMessage(message: ManagerMessage): Buffer;
  decodeManagerMessage(bytes: Uint8Array): ManagerMessage;
  encodeGrantRequest(request: GrantRequest): Buffer;
  decodeGrantRequest(bytes: Uint8Array): GrantRequest;
  encodeGrantReply(reply: GrantReply): Buffer;
  decodeGrantReply(bytes: Uint8Array): GrantReply;
}

/** Reads the definitions below `protoDirectory` once; the codec itself holds no state but `sharedBytes`. */
export function loadControlCodec(protoDirectory: string): ControlCodec {
  const source = readFileSync(join(protoDirectory, 'cistern', 'control.proto'), 'utf8');
  const root = protobuf.parse(source, { keepCase: false }).root;
  const type = (name: string): protobuf.Type => root.lookupType(`cistern.control.${name}`);
  const nodeMessage = type('NodeMessage');
  const managerMessage = type('ManagerMessage');
  const grantRequest = type('GrantRequest');
  const grantReply = type('GrantReply');
  // A map or delta goes to every executor: one value, so it is put into bytes once, while it lives.
  const sharedBytes = new WeakMap<ManagerMessage, Buffer>();
  const encodeShared = (message: ManagerMessage): Buffer => {
    const known = sharedBytes.get(message);
    if (known !== undefined) return known;
    const bytes = encode(managerMessage, managerMessageFields(message));
    sharedBytes.set(message, bytes);
    return bytes;
  };
  return {
    encodeNodeMessage: (message) => encode(nodeMessage, nodeMessageFields(message)),
    decodeNodeMessage: (bytes) => decode(nodeMessage, bytes, readNodeMessage),
    encodeManagerMessage: (message) =>
      message.kind === 'map' || message.kind === 'delta'
        ? encodeShared(message)
        : encode(managerMessage, managerMessageFields(message)),
    decodeManagerMessage: (bytes) => decode(managerMessage, bytes, readManagerMessage),
    encodeGrantRequest: (request) => encode(grantRequest, { ...request }),
    decodeGrantRequest: (bytes) => decode(grantRequest, bytes, readGrantRequest),
    encodeGrantReply: (reply) => encode(grantReply, { ...reply }),
    decodeGrantReply: (bytes) => decode(grantReply, bytes, readGrantReply),
  };
}

function encode(type: protobuf.Type, fields: Fields): Buffer {
  return Buffer.from(type.encode(type.fromObject(withoutNulls(fields))).finish());
}

/** Protobuf knows absence, not null. */
function withoutNulls(value: Fields): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [key, entry] of Object.entries(value)) {
    if (entry === null || entry === undefined) continue;
    if (Array.isArray(entry)) {
      result[key] = entry.map((item: unknown) =>
        typeof item === 'object' && item !== null ? withoutNulls(item as Fields) : item,
      );
    } else {
      result[key] = typeof entry === 'object' ? withoutNulls(entry as Fields) : entry;
    }
  }
  return result;
}

function decode<T>(type: protobuf.Type, bytes: Uint8Array, read: (fields: Fields) => T): T {
  if (bytes.length > CONTROL_MESSAGE_BYTES_MAX) {
    throw protocolError(`${type.name} has ${bytes.length} bytes`, CONTROL_MESSAGE_BYTES_MAX);
  }
  let fields: Fields;
  try {
    fields = type.toObject(type.decode(bytes), { longs: Number, defaults: true, arrays: true });
  } catch (error) {
    throw new StorageError(
      'protocol',
      `Control message ${type.name} cannot be decoded: ${describeError(error)}`,
      { type: type.name },
      error,
    );
  }
  return read(fields);
}

// ── Node → manager ───────────────────────────────────────────────────────────────────────────

function nodeMessageFields(message: NodeMessage): Fields {
  return message.kind === 'hello'
    ? { hello: message.hello }
    : { report: { ...message.report, sequence: message.sequence } };
}

function readNodeMessage(fields: Fields): NodeMessage {
  const hello = part(fields, 'hello');
  if (hello !== null) return { kind: 'hello', hello: readHello(hello) };
  const report = part(fields, 'report');
  if (report !== null) {
    return { kind: 'report', sequence: size(report, 'sequence'), report: readReport(report) };
  }
  throw protocolError('it is empty', 'hello, report');
}

function readHello(fields: Fields): NodeHello {
  const protocol = size(fields, 'protocol');
  const oldestProtocol = size(fields, 'oldestProtocol');
  return {
    clusterId: text(fields, 'clusterId'),
    agentId: text(fields, 'agentId'),
    executorId: text(fields, 'executorId'),
    hostname: text(fields, 'hostname'),
    incarnation: text(fields, 'incarnation'),
    version: text(fields, 'version'),
    dataAddress: text(fields, 'dataAddress'),
    grantAddress: text(fields, 'grantAddress'),
    mapVersion: size(fields, 'mapVersion'),
    term: size(fields, 'term'),
    ...(protocol === 0 ? {} : { protocol }),
    ...(oldestProtocol === 0 ? {} : { oldestProtocol }),
  };
}

// ── Manager → node ───────────────────────────────────────────────────────────────────────────

function managerMessageFields(message: ManagerMessage): Fields {
  switch (message.kind) {
    case 'welcome':
      return { welcome: withoutKind(message) };
    case 'refusal':
      return { refusal: withoutKind(message) };
    case 'lease':
      return { lease: withoutKind(message) };
    case 'scrubs':
      return { scrubs: withoutKind(message) };
    case 'map':
      return { mapFull: { ...message.map, facts: message.facts ?? [] } };
    case 'delta':
      return { mapDelta: { ...message.delta, facts: message.facts ?? [] } };
  }
}

function withoutKind(message: ManagerMessage): Fields {
  const { kind: _, ...fields } = message;
  return fields;
}

function readManagerMessage(fields: Fields): ManagerMessage {
  const welcome = part(fields, 'welcome');
  if (welcome !== null) {
    return {
      kind: 'welcome',
      term: size(welcome, 'term'),
      node: nodeId(id(welcome, 'node')),
      leaseMs: id(welcome, 'leaseMs'),
      resyncBytesPerSecond: size(welcome, 'resyncBytesPerSecond'),
      concurrentJoins: id(welcome, 'concurrentJoins'),
    };
  }
  const refusal = part(fields, 'refusal');
  if (refusal !== null) {
    return { kind: 'refusal', term: size(refusal, 'term'), reason: text(refusal, 'reason') };
  }
  const lease = part(fields, 'lease');
  if (lease !== null) {
    return {
      kind: 'lease',
      term: size(lease, 'term'),
      sequence: size(lease, 'sequence'),
      durationMs: id(lease, 'durationMs'),
    };
  }
  const scrubs = part(fields, 'scrubs');
  if (scrubs !== null) {
    const orders = atMost(scrubs, 'orders', SCRUB_ORDERS_MAX, readScrubOrder);
    return { kind: 'scrubs', term: size(scrubs, 'term'), orders };
  }
  const full = part(fields, 'mapFull');
  if (full !== null) return { kind: 'map', map: readMap(full), ...readFacts(full) };
  const delta = part(fields, 'mapDelta');
  if (delta !== null) return { kind: 'delta', delta: readDelta(delta), ...readFacts(delta) };
  throw protocolError('it is empty', 'welcome, refusal, lease, scrubs, map, delta');
}

function readFacts(fields: Fields): { readonly facts?: readonly ClusterFact[] } {
  const facts = each(fields, 'facts', (fact) => ({
    key: text(fact, 'key'),
    value: typeof fact['value'] === 'string' ? fact['value'] : null,
  }));
  return facts.length === 0 ? {} : { facts };
}

function readMap(fields: Fields): ClusterMap {
  return {
    clusterId: text(fields, 'clusterId'),
    term: size(fields, 'term'),
    version: size(fields, 'version'),
    nodes: each(fields, 'nodes', readMapNode),
    disks: each(fields, 'disks', readMapDisk),
    pgs: each(fields, 'pgs', readMapPg),
    volumes: each(fields, 'volumes', readMapVolume),
    nextVolume: id(fields, 'nextVolume'),
  };
}

function readDelta(fields: Fields): ClusterMapDelta {
  return {
    ...readMap(fields),
    fromVersion: size(fields, 'fromVersion'),
    removedNodes: ids(fields, 'removedNodes', nodeId),
    removedDisks: ids(fields, 'removedDisks', diskId),
    removedPgs: ids(fields, 'removedPgs', pgId),
    removedVolumes: ids(fields, 'removedVolumes', volumeId),
  };
}

function readMapNode(fields: Fields): MapNode {
  return {
    id: nodeId(id(fields, 'id')),
    hostname: text(fields, 'hostname'),
    zone: optionalText(fields, 'zone'),
    dataAddress: optionalText(fields, 'dataAddress'),
    grantAddress: optionalText(fields, 'grantAddress'),
    isFenced: flag(fields, 'isFenced'),
  };
}

function readMapDisk(fields: Fields): MapDisk {
  return {
    id: diskId(id(fields, 'id')),
    node: nodeId(id(fields, 'node')),
    uuid: text(fields, 'uuid'),
    incarnation: id(fields, 'incarnation'),
  };
}

function readMapPg(fields: Fields): MapPg {
  const inSync = ids(fields, 'inSync', diskId);
  const joining = ids(fields, 'joining', diskId);
  const count = inSync.length + joining.length;
  if (count > PG_MEMBERS_MAX || new Set([...inSync, ...joining]).size < count) {
    const members = [...inSync, ...joining].slice(0, 2 * PG_MEMBERS_MAX).join(', ');
    throw protocolError(`a PG has the members "${members}"`, `${PG_MEMBERS_MAX} different ones`);
  }
  return {
    id: pgId(id(fields, 'id')),
    epoch: id(fields, 'epoch'),
    inSync,
    joining,
    minInSync: id(fields, 'minInSync'),
    target: ids(fields, 'target', diskId),
    suspects: ids(fields, 'suspects', diskId),
    compareEpoch: id(fields, 'compareEpoch'),
  };
}

function readMapVolume(fields: Fields): MapVolume {
  const attachedTo = fields['attachedTo'];
  const pgCount = id(fields, 'pgCount');
  if (pgCount === 0 || (pgCount & (pgCount - 1)) !== 0) {
    throw protocolError(`field "pgCount" is ${pgCount}`, 'a power of two');
  }
  return {
    id: volumeId(id(fields, 'id')),
    name: text(fields, 'name'),
    sizeBytes: size(fields, 'sizeBytes'),
    pgBase: id(fields, 'pgBase'),
    pgCount,
    pgOffset: id(fields, 'pgOffset'),
    pgStride: id(fields, 'pgStride'),
    layer: id(fields, 'layer'),
    generation: id(fields, 'generation'),
    attachedTo: typeof attachedTo === 'number' ? nodeId(id(fields, 'attachedTo')) : null,
    isFull: flag(fields, 'isFull'),
    durability: word(fields, 'durability', DURABILITIES),
  };
}

// ── Grants ───────────────────────────────────────────────────────────────────────────────────

function readGrantRequest(fields: Fields): GrantRequest {
  return {
    clusterId: text(fields, 'clusterId'),
    node: nodeId(id(fields, 'node')),
    term: size(fields, 'term'),
    mapVersion: size(fields, 'mapVersion'),
  };
}

function readGrantReply(fields: Fields): GrantReply {
  return {
    isGranted: flag(fields, 'isGranted'),
    reason: text(fields, 'reason'),
    mapVersion: size(fields, 'mapVersion'),
    node: nodeId(id(fields, 'node')),
  };
}

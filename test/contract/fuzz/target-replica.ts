/**
 * A replica server whose client is hostile: frames with right checksums and any content, over a real store.
 * It answers, refuses or closes; and another connection is served as if nothing had been.
 */
import { expect } from 'chai';
import type { ExtentStore } from '../../../executor/disk/extent-store.ts';
import { Lease } from '../../../executor/lease.ts';
import { MapIndex } from '../../../executor/map-index.ts';
import { encodeHello } from '../../../executor/peer/hello.ts';
import { ReplicaDisk } from '../../../executor/replica/replica-disk.ts';
import { ReplicaServer } from '../../../executor/replica/replica-server.ts';
import { diskId, nodeId, pgId, volumeId } from '../../../shared/base/ids.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import { MiB } from '../../../shared/base/units.ts';
import type { ConnectionHandlers } from '../../../shared/ports.ts';
import { encodeFrame, FrameDecoder } from '../../../shared/wire/data-codec.ts';
import { DATA_VERSION, type DataFrame, STATUS } from '../../../shared/wire/data-protocol.ts';
import { FRAME_SAMPLES } from '../../unit/data-protocol/frame-samples.ts';
import { StoreFixture } from '../../unit/disk/store-fixture.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { expectReason } from './fuzz-target.ts';
import { framesOf, frameVectors } from './target-data.ts';

/** Where the recorded frames are at home. */
const CLUSTER = 'c';
const DISK = diskId(3);
const NODE = nodeId(1);
const FOREVER_MS = 1e12;

export function replicaTarget(): FuzzTarget {
  const vectors = frameVectors();
  const hello = helloBytes();
  return {
    name: 'replica',
    corpus: vectors.map((bytes) => Buffer.concat([hello, bytes])),
    generate: (prng) => Buffer.concat([hello, framesOf(prng, vectors), framesOf(prng, vectors)]),
    // A few whole extents on their way, and a simulated disk.
    // Each is a store or some connections; target-data.ts cuts the same bytes everywhere.
    truncations: 8,
    memoryBytesMax: 64 * MiB,
    run,
  };
}

async function run(input: Uint8Array, prng: Prng): Promise<void> {
  const fixture = new StoreFixture({ slots: 4 });
  const store = await fixture.open();
  const server = serverOver(fixture, store);
  const friend = new Client(server);
  const stranger = new Client(server);
  stranger.feed(input, prng);
  await fixture.idle(20);
  stranger.feed(input, prng);
  await fixture.idle(20);
  for (const reason of stranger.reasons) expectReason(reason);
  friend.feed(Buffer.concat([helloBytes(), sample('ping'), sample('presence')]), prng);
  await fixture.idle(20);
  expect(friend.reasons, 'the other connection').to.deep.equal([]);
  expect(friend.replies.length, 'hello, ping and presence are answered').to.equal(3);
  expect(store.failure, 'the store').to.equal(null);
}

function serverOver(fixture: StoreFixture, store: ExtentStore): ReplicaServer {
  const map = new MapIndex();
  const pg = { id: pgId(12), epoch: 9, inSync: [DISK], joining: [], minInSync: 1, target: [DISK] };
  map.apply({
    clusterId: CLUSTER,
    term: 1,
    version: 1,
    nodes: [],
    disks: [],
    pgs: [pg],
    volumes: [
      {
        id: volumeId(5),
        name: 'vol',
        sizeBytes: 1024 * MiB,
        pgBase: 12,
        pgCount: 1,
        pgOffset: 0,
        pgStride: 1,
        layer: 1,
        generation: 2,
        attachedTo: NODE,
        isFull: false,
        durability: 'flush',
      },
    ],
    nextVolume: 6,
  });
  const lease = new Lease();
  lease.extend(FOREVER_MS);
  const log = (): void => undefined;
  const server = new ReplicaServer(
    { clusterId: CLUSTER, self: NODE },
    { clock: fixture.clock, log, map, lease },
  );
  server.disks.set(DISK, new ReplicaDisk(DISK, store));
  return server;
}

/** One end of a connection: bytes in, replies and the reason of its end out. */
class Client {
  readonly replies: DataFrame[] = [];
  readonly reasons: string[] = [];
  readonly #handlers: ConnectionHandlers;
  readonly #decoder: FrameDecoder;
  #isClosed = false;

  constructor(server: ReplicaServer) {
    this.#decoder = new FrameDecoder((frame) => this.#handlers.onFrame(frame));
    this.#handlers = server.accept(
      {
        peer: 'stranger:1',
        queuedBytes: 0,
        send: (frame) => {
          // Whatever is answered can be said on the wire.
          encodeFrame(frame);
          this.replies.push(frame);
          expect(frame.status).to.be.at.most(Math.max(...Object.values(STATUS)));
        },
        close: (reason) => this.#end(reason),
      },
      false,
    );
  }

  feed(input: Uint8Array, prng: Prng): void {
    for (let at = 0; at < input.length && !this.#isClosed; ) {
      const target = this.#decoder.target();
      const most = prng.chance(0.5) ? target.length : prng.between(1, 5000);
      const count = Math.min(target.length, most, input.length - at);
      target.set(input.subarray(at, at + count));
      at += count;
      const refusal = this.#decoder.received(count);
      if (refusal !== null) this.#end(refusal);
    }
  }

  #end(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.reasons.push(reason);
    this.#decoder.stop();
    this.#handlers.onClose(reason);
  }
}

function helloBytes(): Buffer {
  return encodeFrame(encodeHello({ clusterId: CLUSTER, node: 2, protocol: DATA_VERSION }, false));
}

function sample(name: string): Buffer {
  const frame = FRAME_SAMPLES[name];
  if (frame === undefined) throw new Error(`There is no frame "${name}"`);
  return encodeFrame(frame);
}

/**
 * A gateway and a joining replica whose peer is hostile: replies with right checksums and any content, to
 * reads, writes, presence, reconciliation and resync. Every client request gets an end, and nothing throws. What a
 * replica says may be wrong; that is no matter of decoding.
 */
import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import { BLOCK_BYTES, EXTENT_BYTES, MiB } from '../../../shared/base/units.ts';
import type { Connection, ConnectionHandlers } from '../../../shared/ports.ts';
import { encodeFrame, FrameDecoder } from '../../../shared/wire/data-codec.ts';
import { DataFrame, OP } from '../../../shared/wire/data-protocol.ts';
import { bytes, submit, TestCluster } from '../../scenarios/data-plane/test-cluster.ts';
import { checksumsOf } from '../../unit/disk/store-fixture.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { expectReason } from './fuzz-target.ts';
import { forgeField, sealHeader } from './target-data.ts';

/** A gateway may hold a request for its deadline (35 s); then it must have said something. */
const ANSWER_MS_MAX = 60_000;
const REQUESTS = 12;
const EXTENTS = 4;

/** An input is what the replies are forged from: any bytes will do. */
export function gatewayTarget(): FuzzTarget {
  const prng = new Prng('gateway corpus');
  return {
    name: 'gateway',
    corpus: Array.from({ length: 4 }, () => prng.bytes(8)),
    truncations: 4,
    generate: (draw) => Buffer.from(draw.bytes(8)),
    // Two nodes with their disks.
    memoryBytesMax: 256 * MiB,
    run,
  };
}

async function run(input: Uint8Array): Promise<void> {
  const prng = new Prng(Buffer.from(input).toString('hex'));
  const cluster = new TestCluster(`gateway ${prng.u32()}`);
  const liar = new Liar(prng);
  const host = cluster.network.host('host2');
  const listen = host.listen.bind(host);
  host.listen = (address, accept) =>
    listen(address, (connection) =>
      address.startsWith('local:') ? accept(connection) : liar.accept(connection, accept),
    );
  await cluster.start({
    nodes: 2,
    pgs: [[0, 1], [1]],
    sizeBytes: EXTENTS * EXTENT_BYTES,
    attachedTo: 0,
  });
  const work = new Prng(prng.u32());
  const first = request(cluster, work);
  await cluster.clock.runFor(50);
  liar.chance = prng.pick([0.05, 0.3, 1]);
  const pending = [first, ...Array.from({ length: REQUESTS }, () => request(cluster, work))];
  // The first node takes over what only the liar has.
  cluster.setPg(2, [1], [0]);
  await cluster.run('every request has an answer', Promise.all(pending), ANSWER_MS_MAX);
  for (const reason of liar.reasons) expectReason(reason);
  expect(cluster.findDevice(0), 'the volume is still known').to.not.equal(null);
}

function request(cluster: TestCluster, prng: Prng): Promise<unknown> {
  const device = cluster.device(0);
  const length = prng.between(1, 20) * prng.pick([512, BLOCK_BYTES]);
  const offset = prng.below(EXTENTS) * EXTENT_BYTES + prng.below(64) * 512;
  switch (prng.below(5)) {
    case 0:
      return submit(device, 'read', offset, length);
    case 1:
      return submit(device, 'flush', 0, 0);
    case 2:
      return submit(device, 'trim', offset, length, { mayUnmap: true });
    default:
      return submit(device, 'write', offset, length, { data: bytes(length, prng.u32()) });
  }
}

/** Stands between a replica server and its clients, and changes what it says. */
class Liar {
  chance = 0;
  readonly reasons: string[] = [];
  readonly #prng: Prng;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  accept(
    connection: Connection,
    accept: (connection: Connection) => ConnectionHandlers,
  ): ConnectionHandlers {
    return accept({
      peer: connection.peer,
      get queuedBytes() {
        return connection.queuedBytes;
      },
      send: (frame) => this.#send(connection, frame),
      close: (reason) => connection.close(reason),
    });
  }

  #send(connection: Connection, frame: DataFrame): void {
    const prng = this.#prng;
    if (frame.op === OP.hello || !prng.chance(this.chance)) {
      connection.send(frame);
      return;
    }
    this.#deliver(connection, prng.chance(0.4) ? this.#forged(frame) : this.#reshaped(frame));
  }

  /** Wrong fields. */
  #forged(frame: DataFrame): Buffer {
    const prng = this.#prng;
    const forged = encodeFrame(frame);
    for (let times = prng.between(1, 3); times > 0; times -= 1) forgeField(forged, prng);
    // Half of the time only what lies behind the request's id, so that somebody waits for it.
    if (prng.chance(0.5)) encodeFrame(frame).copy(forged, 0, 0, 12);
    sealHeader(forged);
    return forged;
  }

  /** A whole, valid frame, with another body or outcome than was asked for. */
  #reshaped(frame: DataFrame): Buffer {
    const prng = this.#prng;
    const reply = Object.assign(new DataFrame(), frame);
    const blocks = prng.between(1, 20);
    switch (prng.below(4)) {
      case 0:
        reply.data = null;
        reply.checksums = null;
        break;
      case 1:
        reply.status = prng.below(13);
        reply.aux = prng.pick([0, 1, 2, 10, 0xffff_ffff]);
        reply.data = null;
        reply.checksums = null;
        break;
      case 2:
        reply.block = 0;
        reply.count = blocks;
        reply.data = Buffer.alloc(blocks * BLOCK_BYTES, 1);
        reply.checksums = checksumsOf(Buffer.from(reply.data));
        break;
      default:
        reply.checksums = null;
        reply.data = prng.bytes(4 * prng.below(200));
    }
    return encodeFrame(reply);
  }

  /** As the other side's decoder would take it. */
  #deliver(connection: Connection, forged: Buffer): void {
    const decoder = new FrameDecoder((frame) => {
      const kept = Object.assign(new DataFrame(), frame);
      kept.takeBody();
      connection.send(kept);
    });
    for (let at = 0; at < forged.length; ) {
      const target = decoder.target();
      const count = Math.min(target.length, forged.length - at);
      target.set(forged.subarray(at, at + count));
      at += count;
      const refusal = decoder.received(count);
      if (refusal === null) continue;
      this.reasons.push(refusal);
      connection.close(refusal);
      return;
    }
  }
}

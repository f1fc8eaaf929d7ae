// Garbage on every port of every process, under verified I/O: whoever gets it survives and serves on.
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { encodeHello } from '../../../executor/peer/hello.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { encodeFrame } from '../../../shared/wire/data-codec.ts';
import { type AttachedVolume, sleep, TEST_TIMEOUT_MS, TestCluster } from '../cluster/harness.ts';
import { childrenOf, listeningPorts, processesOf } from '../cluster/processes.ts';

const random = new Prng(2024);
const DATA_MB = 32;
/** Strangers that connect and say nothing, per port. */
const IDLE_CONNECTIONS = 20;
/** Whoever wants more of us after this is cut off. */
const TALK_MS = 150;

function randomBytes(length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)));
}

function text(value: string): Buffer {
  return Buffer.from(value, 'latin1');
}

function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, index * 4);
  return bytes;
}

const HTTP2_PREFACE = text('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const NBD_CLIENT_FLAGS = u32(3);
const IHAVEOPT = text('IHAVEOPT');

function foreignHello(): Buffer {
  return encodeFrame(encodeHello({ clusterId: 'another', node: 7, protocol: 1 }, false));
}

function damagedFrame(): Buffer {
  const frame = foreignHello();
  frame[20] = (frame[20] ?? 0) ^ 1;
  return frame;
}

/** A header that announces a body of 4 GiB. */
function hugeFrame(): Buffer {
  const frame = foreignHello().subarray(0, 64);
  frame.writeUInt32LE(0xffff_ffff, 48);
  return frame;
}

const PAYLOADS: readonly (readonly [string, Buffer])[] = [
  ['nothing', Buffer.alloc(0)],
  ['one byte', Buffer.from([0])],
  ['random bytes', randomBytes(100_000)],
  ['zeros', Buffer.alloc(300_000)],
  ['ones', Buffer.alloc(70_000, 0xff)],
  ['a TLS hello', Buffer.concat([Buffer.from('16030100c8010000c40303', 'hex'), randomBytes(200)])],
  ['a request without an end', text('GET / HTTP/1.1\r\nHost: x\r\nX-Long: ')],
  ['headers without an end', text(`GET / HTTP/1.1\r\n${'X-Some: thing\r\n'.repeat(20_000)}`)],
  [
    'a length that is not kept',
    text('POST /v1/volumes HTTP/1.1\r\nContent-Length: 99999\r\n\r\n{'),
  ],
  [
    'broken JSON',
    text(
      'POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"name": ',
    ),
  ],
  [
    'broken RecordIO',
    text(
      'POST /api/v1/scheduler HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff',
    ),
  ],
  ['HTTP/2 and garbage', Buffer.concat([HTTP2_PREFACE, randomBytes(5_000)])],
  [
    'HTTP/2 and a huge frame',
    Buffer.concat([HTTP2_PREFACE, Buffer.from('ffffff0400ffffffff', 'hex')]),
  ],
  ['a frame of another cluster', foreignHello()],
  ['a damaged frame', damagedFrame()],
  ['a frame with a huge body', hugeFrame()],
  ['an NBD option of 4 GiB', Buffer.concat([NBD_CLIENT_FLAGS, IHAVEOPT, u32(7, 0xffff_ffff)])],
  [
    'an NBD option that is unknown',
    Buffer.concat([NBD_CLIENT_FLAGS, IHAVEOPT, u32(0x7777, 4), u32(1)]),
  ],
  [
    'an NBD export that is unknown',
    Buffer.concat([NBD_CLIENT_FLAGS, IHAVEOPT, u32(1, 4), text('nope')]),
  ],
  [
    'NBD with an export and garbage for requests',
    Buffer.concat([NBD_CLIENT_FLAGS, IHAVEOPT, u32(1, 6), text('target'), randomBytes(20_000)]),
  ],
];

describe('errors: garbage on every port', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let volume: AttachedVolume;
  let target: AttachedVolume;

  before(async () => {
    cluster = await TestCluster.start({ agents: 3, pgCount: 32, disksPerAgent: 1 });
    volume = await cluster.attach('live', { sizeMb: 64, node: 'agent1' });
    target = await cluster.attach('target', { sizeMb: 16, node: 'agent1' });
  });

  after(async () => cluster?.close());

  /** Every process of the cluster that listens: supervisor's children, executors, data processes. */
  function servers(): ReadonlyMap<number, readonly number[]> {
    const entries = processesOf(cluster.directory)
      .map((pid) => [pid, listeningPorts(pid)] as const)
      .filter(([, ports]) => ports.length > 0);
    return new Map(entries.sort(([a], [b]) => a - b));
  }

  it('all of it on all of them, while fio writes: nobody dies, every byte is right', async () => {
    const before = servers();
    // Stand-in, scheduler, and on each agent an executor with a data process.
    expect([...before.keys()]).to.have.length(2 + 2 * 3);
    const run = cluster.fio({ uri: volume.unixUri, sizeMb: DATA_MB, rateIops: 700 });
    await cluster.waitForWrites(volume);
    const places: (number | string)[] = [...before.values()].flat();
    for (const { unixUri } of [volume, target]) {
      places.push(new URL(unixUri).searchParams.get('socket') ?? '');
    }
    const idle = places.flatMap((place) =>
      Array.from({ length: IDLE_CONNECTIONS }, () => openQuietly(place)),
    );
    for (const [, payload] of PAYLOADS) {
      await Promise.all(places.map((place) => talk(place, payload)));
    }
    const written = await run.done;
    expect(written.errors).to.equal(0);
    expect(servers(), 'the same processes on the same ports').to.deep.equal(before);
    for (const socket of idle) socket.destroy();
    await cluster.fio({ uri: volume.tcpUri, sizeMb: DATA_MB, isVerifyOnly: true }).done;
    await cluster.waitUntilHealthy();
    const names = (await cluster.api.get<readonly { readonly name: string }[]>('/volumes')).map(
      ({ name }) => name,
    );
    expect(names).to.deep.equal(['live', 'target']);
    // And all of them still do their work.
    const added = await cluster.attach('after', { sizeMb: 8 });
    await cluster.fio({ uri: added.tcpUri, sizeMb: 8 }).done;
  });

  it('connections that are reset half way: nobody dies', async () => {
    const before = servers();
    const ports = [...before.values()].flat();
    for (let round = 0; round < 3; round += 1) {
      for (const port of ports) {
        const socket = openQuietly(port);
        socket.write(randomBytes(random.between(1, 5_000)));
        await sleep(random.below(5));
        socket.resetAndDestroy();
      }
    }
    await cluster.waitUntilHealthy();
    expect(servers()).to.deep.equal(before);
    expect(childrenOf(cluster.state.pid)).to.include(cluster.schedulerPid);
  });
});

/** Sends it and listens until the other side has enough, or a little while. */
function talk(place: number | string, payload: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = openQuietly(place);
    const timer = setTimeout(() => socket.destroy(), TALK_MS);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.resume();
    if (payload.length > 0) socket.write(payload);
  });
}

/** Being cut off is what a stranger may expect. */
function openQuietly(place: number | string): Socket {
  const socket = typeof place === 'number' ? connect(place, '127.0.0.1') : connect({ path: place });
  socket.on('error', () => undefined);
  return socket;
}

/** The receiver over real sockets, in both modes: same bytes, pausing, fairness, end of the peer. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  chooseReceiveMode,
  connectInto,
  type ReceiveMode,
  type Receiver,
  type ReceiveSink,
  receiveInto,
} from '../../../shared/node/socket-receive.ts';

/** Collects what arrives, through targets of `step` bytes; pauses after each piece when told to. */
class Collector implements ReceiveSink {
  readonly bytes: Buffer;
  readonly #step: number;
  readonly #pauses: boolean;
  filled = 0;
  calls = 0;
  receiver: Receiver | null = null;

  constructor(capacity: number, step: number, pauses: boolean) {
    this.bytes = Buffer.alloc(capacity + step);
    this.#step = step;
    this.#pauses = pauses;
  }

  target(): Uint8Array {
    return this.bytes.subarray(this.filled, this.filled + this.#step);
  }

  received(count: number): boolean {
    this.filled += count;
    this.calls += 1;
    if (this.#pauses) setImmediate(() => this.receiver?.resume());
    return !this.#pauses;
  }
}

function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index += 1) bytes[index] = (index * 7 + (index >> 8)) & 0xff;
  return bytes;
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('No TCP address');
  return address.port;
}

/** Sends `sent` to an accepted, wrapped socket; resolves when the peer has ended. */
async function transfer(sent: Buffer, sink: Collector, mode: ReceiveMode): Promise<Receiver> {
  const server = createServer({ pauseOnConnect: true });
  const port = await listen(server);
  const accepted = once(server, 'connection');
  const client = connect(port, '127.0.0.1');
  const [socket] = (await accepted) as [Socket];
  const receiver = receiveInto(socket, sink, mode);
  sink.receiver = receiver;
  client.end(sent);
  await once(receiver.socket, 'close');
  server.close();
  await once(server, 'close');
  // A paused receiver of the 'data' mode may hold bytes that came before the end.
  while (sink.filled < sent.length) await new Promise(setImmediate);
  return receiver;
}

describe('socket receive', function () {
  this.timeout(60_000);

  it('self-test: this Node has the fast mode', async () => {
    expect(await chooseReceiveMode()).to.equal('onread');
  });

  it('receive: unix sockets have the fast mode too', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'receive-'));
    const path = join(directory, 'socket');
    const server = createServer({ pauseOnConnect: true }).listen(path);
    await once(server, 'listening');
    const accepted = once(server, 'connection');
    const client = connect({ path });
    const [socket] = (await accepted) as [Socket];
    const sink = new Collector(1000, 100, false);
    const receiver = receiveInto(socket, sink, 'onread');
    expect(receiver.mode).to.equal('onread');
    client.end(pattern(1000));
    await once(receiver.socket, 'close');
    expect(sink.filled).to.equal(1000);
    server.close();
    await rm(directory, { recursive: true });
  });

  for (const mode of ['onread', 'data'] as const) {
    for (const pauses of [false, true]) {
      for (const step of [13, 4096, 262_144]) {
        it(`receive: targets of ${step} bytes, all bytes in order (${mode}, pauses=${pauses})`, async () => {
          const sent = pattern(step === 13 ? 20_000 : 3_000_000);
          const sink = new Collector(sent.length, step, pauses);
          const receiver = await transfer(sent, sink, mode);
          expect(receiver.mode).to.equal(mode);
          expect(sink.filled).to.equal(sent.length);
          expect(sink.bytes.subarray(0, sink.filled).equals(sent)).to.equal(true);
        });
      }
    }

    it(`receive: paused, nothing comes until resumed (${mode})`, async () => {
      const server = createServer({ pauseOnConnect: true });
      const port = await listen(server);
      const accepted = once(server, 'connection');
      const client = connect(port, '127.0.0.1');
      const [socket] = (await accepted) as [Socket];
      let calls = 0;
      let bytes = 0;
      const receiver = receiveInto(
        socket,
        {
          target: () => Buffer.alloc(1000),
          received: (count) => {
            calls += 1;
            bytes += count;
            return false;
          },
        },
        mode,
      );
      client.write(Buffer.alloc(2_500));
      while (calls === 0) await new Promise(setImmediate);
      for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
      expect(calls).to.equal(1);
      while (bytes < 2_500) {
        receiver.resume();
        await new Promise(setImmediate);
      }
      expect(bytes).to.equal(2_500);
      client.destroy();
      receiver.resume();
      await once(receiver.socket, 'close');
      server.close();
    });

    it(`connect: a client receives into its own memory (${mode})`, async () => {
      const sent = pattern(500_000);
      const server = createServer((socket) => socket.end(sent));
      const port = await listen(server);
      const sink = new Collector(sent.length, 100_000, true);
      const receiver = connectInto({ host: '127.0.0.1', port }, sink, mode);
      sink.receiver = receiver;
      await once(receiver.socket, 'close');
      expect(sink.bytes.subarray(0, sink.filled).equals(sent)).to.equal(true);
      server.close();
    });
  }
});

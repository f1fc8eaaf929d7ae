/** The listener: addresses that are taken, clients that misbehave, and the end of exports. */
import { once } from 'node:events';
import { lstat, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { NbdListener } from '../../../executor/gateway/nbd/nbd-listener.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { MiB } from '../../../shared/base/units.ts';
import {
  CMD,
  infoData,
  openingBytes,
  option,
  readReplies,
  request,
  u32,
} from '../../unit/nbd/session-driver.ts';
import { expectClient, runClient, startServer, type TestServer, until } from './clients.ts';

const noExports = { find: () => null, list: () => [] };
const silent = { log: () => undefined };

async function failureOf(action: Promise<unknown>): Promise<StorageError> {
  try {
    await action;
  } catch (error) {
    if (error instanceof StorageError) return error;
    throw error;
  }
  throw new Error('It succeeded');
}

/** A raw client: everything it received, and whether the server has closed. */
class RawClient {
  readonly socket: Socket;
  received: Buffer = Buffer.alloc(0);
  isClosed = false;

  /** A port of this machine, or the path of a unix socket. */
  constructor(address: number | string) {
    this.socket = typeof address === 'string' ? connect(address) : connect(address, '127.0.0.1');
    this.socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
    });
    // A reset by the server is one of the ways to close.
    this.socket.on('error', () => {
      this.isClosed = true;
    });
    this.socket.on('close', () => {
      this.isClosed = true;
    });
  }

  async open(): Promise<void> {
    this.socket.write(openingBytes('vol', true));
    await until(
      'the export is open',
      () => this.received.length >= 18 + 20 + 39 + 20 + 32 + 34 + 20,
    );
    this.received = Buffer.alloc(0);
  }
}

describe('nbd listener', function () {
  this.timeout(120_000);
  let directory = '';
  let server: TestServer | null = null;
  const listeners: NbdListener[] = [];

  function makeListener(): NbdListener {
    const listener = new NbdListener(noExports, silent);
    listeners.push(listener);
    return listener;
  }

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nbd-listener-'));
  });

  afterEach(async () => {
    await server?.close();
    server = null;
    for (const listener of listeners.splice(0)) await listener.close();
    await rm(directory, { recursive: true, force: true });
  });

  describe('addresses', () => {
    it('socket file: only its owner may use it, gone after close', async () => {
      const path = join(directory, 'a.sock');
      const endpoint = await makeListener().listen({ path, export: 'vol' });
      expect((await lstat(path)).mode & 0o777).to.equal(0o600);
      await endpoint.close();
      expect((await failureOfStat(path)).code).to.equal('ENOENT');
    });

    it('socket file left by a dead process: replaced', async () => {
      const path = join(directory, 'stale.sock');
      const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
      await expectKilled(script, directory);
      expect((await lstat(path)).isSocket()).to.equal(true);
      await makeListener().listen({ path, export: 'vol' });
    });

    it('socket of a living server: refused, and the other goes on', async () => {
      const path = join(directory, 'live.sock');
      await makeListener().listen({ path, export: 'vol' });
      const failure = await failureOf(makeListener().listen({ path, export: 'vol' }));
      expect(failure.code).to.equal('conflict');
      expect(failure.message).to.include(`"${path}"`);
      const probe = connect({ path });
      await once(probe, 'connect');
      probe.destroy();
    });

    it('another file in the way, or a path that is too long: refused, nothing is removed', async () => {
      const path = join(directory, 'file');
      await writeFile(path, 'precious');
      await symlink(path, `${path}.link`);
      for (const taken of [path, `${path}.link`, join(directory, 'x'.repeat(120))]) {
        const failure = await failureOf(makeListener().listen({ path: taken, export: 'vol' }));
        expect(failure.code, taken).to.equal('invalid-argument');
      }
      expect((await lstat(path)).size).to.equal(8);
    });

    it('port in use: refused with the address', async () => {
      const first = await makeListener().listen({ host: '127.0.0.1', port: 0 });
      const port = Number(first.address.split(':')[1]);
      const failure = await failureOf(makeListener().listen({ host: '127.0.0.1', port }));
      expect(failure.code).to.equal('unavailable');
      expect(failure.message).to.include(`127.0.0.1:${port}`).and.include('already in use');
    });

    it('folder that is missing: refused', async () => {
      const path = join(directory, 'missing', 'a.sock');
      const failure = await failureOf(makeListener().listen({ path, export: 'vol' }));
      expect(failure.code).to.equal('unavailable');
    });
  });

  for (const receiveMode of ['onread', 'data'] as const) {
    describe(`clients (${receiveMode})`, () => {
      it('garbage: closed, others are served', async () => {
        server = await startServer({ sizeBytes: MiB, receiveMode });
        const garbage = [
          Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
          Buffer.alloc(300_000, 0xff),
          Buffer.concat([u32(3), Buffer.alloc(100_000, 0x41)]),
          Buffer.concat([openingBytes('vol', false), Buffer.alloc(5_000_000, 0x42)]),
        ];
        for (const bytes of garbage) {
          const client = new RawClient(server.port);
          client.socket.write(bytes);
          await until('the server closes', () => client.isClosed);
        }
        await expectClient('nbdinfo', ['--size', server.tcpUri], { cwd: directory });
      });

      it('connection cut anywhere in a handshake and a write: nobody else notices', async () => {
        server = await startServer({ sizeBytes: 8 * MiB, receiveMode });
        const bytes = Buffer.concat([
          openingBytes('vol', true),
          request(CMD.write, { payload: Buffer.alloc(3 * MiB, 1) }),
        ]);
        for (const length of [
          0,
          1,
          4,
          19,
          100,
          bytes.length - 3 * MiB,
          bytes.length - MiB,
          bytes.length - 1,
        ]) {
          const client = new RawClient(server.port);
          client.socket.write(bytes.subarray(0, length), () => client.socket.resetAndDestroy());
          await until('the client is gone', () => client.isClosed);
        }
        await until('no client is left', () => server?.listener.clientCount('vol') === 0);
        await expectClient('nbdinfo', ['--size', server.tcpUri], { cwd: directory });
      });

      it('a client that never chooses: cut off; one that has chosen may be idle', async () => {
        server = await startServer({ sizeBytes: MiB, receiveMode, handshakeTimeoutMs: 300 });
        const idle = new RawClient(server.port);
        await idle.open();
        const silentClient = new RawClient(server.port);
        const slow = new RawClient(server.port);
        slow.socket.write(Buffer.concat([u32(3), option(99)]));
        await until('both are cut off', () => silentClient.isClosed && slow.isClosed);
        expect(idle.isClosed).to.equal(false);
        idle.socket.write(request(CMD.flush, { cookie: 5 }));
        await until('the idle one is answered', () => idle.received.length >= 16);
        idle.socket.destroy();
      });

      it('a client that asks for much and reads nothing: held back, and served when it reads', async () => {
        server = await startServer({ sizeBytes: 8 * MiB, receiveMode });
        const client = new RawClient(server.port);
        await client.open();
        client.socket.pause();
        const count = 300;
        for (let cookie = 0; cookie < count; cookie += 1) {
          client.socket.write(request(CMD.read, { cookie, length: MiB }));
        }
        const { device } = server;
        await until('the limit is reached', () => device.seen.length >= 60);
        // Another client is served meanwhile, and gives the server every chance to go on.
        for (let round = 0; round < 3; round += 1) {
          await expectClient('nbdinfo', ['--size', server.tcpUri], { cwd: directory });
        }
        expect(device.seen.length, '64 MiB and what the sockets hold').to.be.within(60, 120);
        client.received = Buffer.alloc(0);
        let received = 0;
        client.socket.removeAllListeners('data');
        client.socket.on('data', (chunk: Buffer) => {
          received += chunk.length;
        });
        client.socket.resume();
        await until('everything has come', () => received === count * (MiB + 28));
        client.socket.destroy();
      });

      it('closeExport and close: requests in flight are answered, everybody is gone', async () => {
        server = await startServer({ sizeBytes: MiB, receiveMode, answers: 'manual' });
        const { device, listener } = server;
        const clients = [new RawClient(server.port), new RawClient(server.port)];
        for (const client of clients) {
          await client.open();
          client.socket.write(request(CMD.read, { cookie: 7, length: 4096 }));
        }
        await until('both reads are in flight', () => device.waitingCount === 2);
        expect(listener.clientCount('vol')).to.equal(2);
        await listener.closeExport('other', 'Not ours');
        expect(listener.clientCount('vol')).to.equal(2);
        await listener.closeExport('vol', 'Volume is detached');
        for (const client of clients) {
          await until('the server closes', () => client.isClosed);
          const replies = readReplies(client.received);
          expect(replies.map((reply) => [reply.cookie, reply.error])).to.deep.equal([[7n, 108]]);
        }
        device.release();
        const late = new RawClient(server.port);
        late.socket.write(Buffer.concat([u32(3), option(6, infoData('vol'))]));
        await until('the late one is greeted', () => late.received.length > 18);
        await listener.close();
        await until('the late one is closed', () => late.isClosed);
        const refused = connect(server.port, '127.0.0.1');
        await once(refused, 'error');
      });

      it('endpoint closed with a client connected: no more clients, this one stays', async () => {
        server = await startServer({ sizeBytes: MiB, receiveMode });
        const path = join(directory, 'second.sock');
        const endpoint = await server.listener.listen({ path, export: 'vol' });
        const client = new RawClient(path);
        await client.open();
        await endpoint.close();
        const late = connect({ path });
        await once(late, 'error');
        client.socket.write(request(CMD.flush));
        await until('the client is answered', () => client.received.length === 16);
        await server.listener.listen({ path, export: 'vol' });
        client.socket.destroy();
      });

      it('closeExport: a client that reads nothing is cut off', async () => {
        server = await startServer({ sizeBytes: 8 * MiB, receiveMode });
        const client = new RawClient(server.port);
        await client.open();
        client.socket.pause();
        for (let count = 0; count < 100; count += 1) {
          client.socket.write(request(CMD.read, { length: MiB }));
        }
        const { device, listener } = server;
        await until('the server is busy', () => device.seen.length > 50);
        await listener.closeExport('vol', 'Volume is detached');
        expect(listener.clientCount('vol')).to.equal(0);
        client.socket.destroy();
      });
    });
  }

  it('a listener that is closed does not listen again', async () => {
    const listener = makeListener();
    await listener.close();
    const failure = await failureOf(listener.listen({ host: '127.0.0.1', port: 0 }));
    expect(failure.code).to.equal('unavailable');
  });

  it('a server that is no NBD server keeps its socket', async () => {
    const path = join(directory, 'other.sock');
    const other = createServer().listen(path);
    await once(other, 'listening');
    const failure = await failureOf(makeListener().listen({ path, export: 'vol' }));
    expect(failure.code).to.equal('conflict');
    other.close();
  });
});

async function failureOfStat(path: string): Promise<NodeJS.ErrnoException> {
  try {
    await lstat(path);
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error(`"${path}" exists`);
}

/** Runs a script in a process of its own that kills itself. */
async function expectKilled(script: string, cwd: string): Promise<void> {
  const run = await runClient(process.execPath, ['-e', script], { cwd });
  expect(run.code).to.equal(null);
}

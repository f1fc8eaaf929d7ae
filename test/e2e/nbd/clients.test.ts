/** The server against the clients that people use: libnbd's tools, qemu's tools, fio. */
import { randomBytes } from 'node:crypto';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { MiB } from '../../../shared/base/units.ts';
import {
  expectClient,
  runClient,
  sha256Of,
  startServer,
  type TestServer,
  type TestServerOptions,
  until,
} from './clients.ts';
import { MemoryDevice } from './memory-device.ts';

const SIZE = 64 * MiB;

describe('nbd clients', function () {
  this.timeout(300_000);
  let server: TestServer | null = null;

  async function start(options: Partial<TestServerOptions> = {}): Promise<TestServer> {
    server = await startServer({ sizeBytes: SIZE, answers: 'later', ...options });
    return server;
  }

  afterEach(async () => {
    await server?.close();
    server = null;
  });

  describe('nbdinfo', () => {
    it('--json: everything that is offered', async () => {
      const { unixUri, directory } = await start();
      const info = JSON.parse(
        await expectClient('nbdinfo', ['--json', unixUri], { cwd: directory }),
      );
      expect(info).to.deep.include({ protocol: 'newstyle-fixed', TLS: false, structured: true });
      expect(info.exports[0]).to.deep.include({
        'export-name': 'vol',
        description: 'A volume in memory',
        contexts: ['base:allocation'],
        is_read_only: false,
        can_cache: true,
        can_df: true,
        can_flush: true,
        can_fua: true,
        can_multi_conn: true,
        can_trim: true,
        can_zero: true,
        block_size_minimum: 1,
        block_size_preferred: 4096,
        block_size_maximum: 32 * MiB,
        'export-size': SIZE,
      });
    });

    it('--list: all exports on TCP, the one volume on its own socket', async () => {
      const other = new MemoryDevice({ sizeBytes: 12_345, isReadOnly: true });
      const moreExports = [{ name: 'ältere Kopie', description: '', device: other }];
      const { tcpUri, unixUri, directory } = await start({ moreExports });
      const namesIn = async (uri: string): Promise<string[]> => {
        const text = await expectClient('nbdinfo', ['--json', '--list', uri], { cwd: directory });
        const names: string[] = [];
        for (const entry of JSON.parse(text).exports) names.push(entry['export-name']);
        return names;
      };
      expect(await namesIn(tcpUri)).to.deep.equal(['vol', 'ältere Kopie']);
      expect(await namesIn(unixUri)).to.deep.equal(['vol']);
      const uri = `${tcpUri}${encodeURIComponent('ältere Kopie')}`;
      expect(await expectClient('nbdinfo', ['--size', uri], { cwd: directory })).to.equal(
        '12345\n',
      );
      const readOnly = await runClient('nbdinfo', ['--is', 'read-only', uri], { cwd: directory });
      expect(readOnly.code).to.equal(0);
    });

    it('--can, --map; an unknown export is refused with its name', async () => {
      const { tcpUri, directory, device } = await start();
      for (const ability of ['multi-conn', 'fua', 'trim', 'zero', 'df', 'cache', 'flush']) {
        await expectClient('nbdinfo', ['--can', ability, tcpUri], { cwd: directory });
      }
      await expectClient('qemu-io', ['-f', 'raw', '-c', 'write -P 1 1M 1M', tcpUri], {
        cwd: directory,
      });
      const map = await expectClient('nbdinfo', ['--map', '--json', tcpUri], { cwd: directory });
      expect(JSON.parse(map)).to.deep.equal([
        { offset: 0, length: MiB, type: 3, description: 'hole,zero' },
        { offset: MiB, length: MiB, type: 0, description: 'data' },
        { offset: 2 * MiB, length: SIZE - 2 * MiB, type: 3, description: 'hole,zero' },
      ]);
      const unknown = await runClient('nbdinfo', [`${tcpUri}nope`], { cwd: directory });
      expect(unknown.code).to.equal(1);
      expect(unknown.stderr).to.include('nope');
      expect(device.seen.some((entry) => entry.op === 'status')).to.equal(true);
    });
  });

  for (const receiveMode of ['onread', 'data'] as const) {
    it(`nbdcopy: there and back, with holes, over 4 connections, nothing lost (${receiveMode})`, async () => {
      const { tcpUri, unixUri, directory } = await start({ receiveMode });
      const source = join(directory, 'source');
      const copy = join(directory, 'copy');
      await writeFile(
        source,
        Buffer.concat([randomBytes(9 * MiB + 4321), Buffer.alloc(7 * MiB), randomBytes(5 * MiB)]),
      );
      await truncate(source, SIZE);
      await expectClient('nbdcopy', ['--connections=4', '--flush', source, tcpUri], {
        cwd: directory,
      });
      await expectClient('nbdcopy', [unixUri, copy], { cwd: directory });
      expect(await sha256Of(copy)).to.equal(await sha256Of(source));
      await expectClient('nbdcopy', ['--connections=4', '--request-size=8388608', tcpUri, copy], {
        cwd: directory,
      });
      expect(await sha256Of(copy)).to.equal(await sha256Of(source));
    });
  }

  describe('qemu-io', () => {
    const run = (commands: readonly string[], uri: string, cwd: string): Promise<string> =>
      expectClient(
        'qemu-io',
        ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri],
        { cwd },
      );

    for (const transport of ['unixUri', 'tcpUri'] as const) {
      it(`patterns at any alignment (${transport})`, async () => {
        const { [transport]: uri, directory } = await start();
        const commands = [
          'write -P 0xab 1M 1M',
          'write -P 0x11 12345 777',
          'write -P 0x22 4095 2',
          'write -P 0x33 67108863 1',
          'write -P 0x44 3000001 5000001',
          'read -P 0xab 1M 1M',
          'read -P 0x11 12345 777',
          'read -P 0x22 4095 2',
          'read -P 0x33 67108863 1',
          'read -P 0x44 3000001 5000001',
          'read -P 0 12344 1',
          'read -P 0 13122 1',
        ];
        await run(commands, uri, directory);
      });
    }

    it('discard, zeroes and FUA: read back, and what reached the device', async () => {
      const { unixUri, directory, device } = await start();
      await run(['write -P 0xab 0 4M', 'flush'], unixUri, directory);
      await run(
        ['write -z 1M 64k', 'write -z -u 2M 64k', 'discard 3M 64k', 'write -f -P 7 100 9'],
        unixUri,
        directory,
      );
      await run(
        [
          'read -P 0 1M 64k',
          'read -P 0 2M 64k',
          'read -P 0 3M 64k',
          'read -P 7 100 9',
          'read -P 0xab 109 1000',
        ],
        unixUri,
        directory,
      );
      expect(device.seen).to.deep.include({
        op: 'write',
        offset: 100,
        length: 9,
        isDurable: true,
        mayUnmap: false,
      });
      // Whether these are durable is up to qemu's cache mode; whether they may become holes is not.
      const zeros = device.seen.filter(({ op }) => op === 'zero');
      expect(zeros.map(({ offset, length, mayUnmap }) => [offset, length, mayUnmap])).to.deep.equal(
        [
          [MiB, 65_536, false],
          [2 * MiB, 65_536, true],
        ],
      );
      expect(device.seen.some(({ op, offset }) => op === 'trim' && offset === 3 * MiB)).to.equal(
        true,
      );
      expect(device.seen.some(({ op }) => op === 'flush')).to.equal(true);
    });

    it('the test can fail: a wrong pattern is noticed', async () => {
      const { unixUri, directory } = await start();
      const wrong = await runClient('qemu-io', ['-f', 'raw', '-c', 'read -P 1 0 4k', unixUri], {
        cwd: directory,
      });
      expect(wrong.code).to.equal(1);
    });

    it('read-only export and failing device: the client gets the right error', async () => {
      const { tcpUri, directory, device } = await start();
      device.failWith = 'no-space';
      const full = await runClient('qemu-io', ['-f', 'raw', '-c', 'write 0 4k', tcpUri], {
        cwd: directory,
      });
      expect(full.stdout + full.stderr).to.match(/No space left on device/);
      device.failWith = 'io';
      const broken = await runClient('qemu-io', ['-f', 'raw', '-c', 'read 0 4k', tcpUri], {
        cwd: directory,
      });
      expect(broken.stdout + broken.stderr).to.match(/Input\/output error/);
      device.failWith = null;
      device.isReadOnly = true;
      const readOnly = await runClient('qemu-io', ['-f', 'raw', '-c', 'write 0 4k', tcpUri], {
        cwd: directory,
      });
      expect(readOnly.code).to.equal(1);
      await expectClient('qemu-io', ['-r', '-f', 'raw', '-c', 'read -P 0 0 4k', tcpUri], {
        cwd: directory,
      });
    });
  });

  it('qemu-img: convert into the volume, compare, map', async () => {
    const { tcpUri, directory } = await start();
    const raw = join(directory, 'raw');
    const qcow2 = join(directory, 'qcow2');
    await writeFile(
      raw,
      Buffer.concat([
        Buffer.alloc(2 * MiB),
        randomBytes(3 * MiB),
        Buffer.alloc(MiB),
        randomBytes(5000),
      ]),
    );
    await truncate(raw, SIZE);
    await expectClient('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2], {
      cwd: directory,
    });
    await expectClient('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', qcow2, tcpUri], {
      cwd: directory,
    });
    await expectClient('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', qcow2, tcpUri], {
      cwd: directory,
    });
    const map: unknown = JSON.parse(
      await expectClient('qemu-img', ['map', '--output=json', '-f', 'raw', tcpUri], {
        cwd: directory,
      }),
    );
    expect(map).to.be.an('array').with.length.greaterThan(2);
    expect(JSON.stringify(map)).to.match(/"start":2097152,"length":3145728,[^}]*"data":true/);
    await expectClient('qemu-io', ['-f', 'raw', '-c', 'write -P 9 33 1', tcpUri], {
      cwd: directory,
    });
    const compared = await runClient(
      'qemu-img',
      ['compare', '-f', 'qcow2', '-F', 'raw', qcow2, tcpUri],
      { cwd: directory },
    );
    expect(compared.code, 'a difference is noticed').to.equal(1);
  });

  describe('fio', () => {
    const jobs: { name: string; args: string[]; transport: 'unixUri' | 'tcpUri'; mode?: 'data' }[] =
      [
        {
          name: '4 KiB random at depth 16',
          args: ['--bs=4k', '--rw=randrw'],
          transport: 'unixUri',
        },
        { name: '4 KiB random at depth 16', args: ['--bs=4k', '--rw=randrw'], transport: 'tcpUri' },
        {
          name: '512 bytes to 1 MiB, any size',
          args: ['--bsrange=512-1M', '--bs_unaligned=1', '--rw=randwrite'],
          transport: 'tcpUri',
        },
        { name: '1 MiB sequential', args: ['--bs=1M', '--rw=write'], transport: 'unixUri' },
        {
          name: '4 KiB random, safe receive mode',
          args: ['--bs=4k', '--rw=randrw'],
          transport: 'tcpUri',
          mode: 'data',
        },
        {
          name: '4 connections',
          args: [
            '--bs=16k',
            '--rw=randwrite',
            '--numjobs=4',
            '--thread',
            '--offset_increment=16M',
            '--fsync=64',
          ],
          transport: 'tcpUri',
        },
      ];
    for (const { name, args, transport, mode } of jobs) {
      it(`${name}: verified by checksum (${transport})`, async () => {
        const running = await start(mode === undefined ? {} : { receiveMode: mode });
        const size = args.includes('--numjobs=4') ? '16M' : '48M';
        const output = await expectClient(
          'fio',
          [
            '--name=verify',
            '--ioengine=nbd',
            `--uri=${running[transport]}`,
            '--iodepth=16',
            `--size=${size}`,
            '--verify=crc32c',
            '--do_verify=1',
            '--verify_fatal=1',
            '--verify_state_save=0',
            '--output-format=json',
            ...args,
          ],
          { cwd: running.directory },
        );
        // A lost connection may end in success with nothing done: look at what was moved.
        const report = JSON.parse(output.slice(output.indexOf('{')));
        for (const job of report.jobs) {
          expect(job.error).to.equal(0);
          expect(job.read.io_bytes, 'verified bytes').to.be.greaterThan(10 * MiB);
          expect(job.write.io_bytes, 'written bytes').to.be.greaterThan(10 * MiB);
        }
        expect(running.device.seen.filter(({ op }) => op === 'write').length).to.be.greaterThan(10);
      });
    }

    it('the test can fail: damage is noticed', async () => {
      const { tcpUri, directory } = await start();
      const base = [
        '--name=v',
        '--ioengine=nbd',
        `--uri=${tcpUri}`,
        '--rw=write',
        '--bs=4k',
        '--size=1M',
        '--verify=crc32c',
        '--verify_state_save=0',
      ];
      await expectClient('fio', [...base, '--do_verify=0'], { cwd: directory });
      await expectClient('qemu-io', ['-f', 'raw', '-c', 'write -P 0x58 8192 512', tcpUri], {
        cwd: directory,
      });
      const verified = await runClient('fio', [...base, '--verify_only', '--verify_fatal=1'], {
        cwd: directory,
      });
      expect(verified.code).to.not.equal(0);
    });
  });

  describe('nbdsh', () => {
    it('multi-conn: what one connection wrote and flushed, the others read', async () => {
      const { tcpUri, directory } = await start();
      const script = `
handles = [nbd.NBD() for _ in range(4)]
for h in handles: h.connect_uri("${tcpUri}")
assert handles[0].can_multi_conn()
for i, h in enumerate(handles): h.pwrite(bytes([i + 1]) * 10000, i * 10000)
handles[0].flush()
for h in handles:
    for i in range(4): assert h.pread(10000, i * 10000) == bytes([i + 1]) * 10000
for h in handles: h.shutdown()
`;
      await expectClient('nbdsh', ['-c', script], { cwd: directory });
    });

    it('strict mode off: commands that break the rules get an error and the connection lives', async () => {
      const { tcpUri, directory } = await start();
      const script = `
h.set_strict_mode(0)
h.connect_uri("${tcpUri}")
def refused(call):
    try: call()
    except nbd.Error as e: return e.errno
    return None
size = h.get_size()
print(refused(lambda: h.pread(10, size - 5)))
print(refused(lambda: h.pwrite(b"x" * 10, size - 5)))
print(refused(lambda: h.zero(10, size - 5)))
print(refused(lambda: h.trim(10, size - 5)))
print(refused(lambda: h.zero(10, 0, nbd.CMD_FLAG_FAST_ZERO)))
print(refused(lambda: h.cache(10, size - 5)))
print(refused(lambda: h.pread(33 * 1024 * 1024, 0)))
h.pwrite(b"fine", 0)
assert h.pread(4, 0, nbd.CMD_FLAG_DF) == b"fine"
`;
      const output = await expectClient('nbdsh', ['-c', script], { cwd: directory });
      expect(output.trim().split('\n')).to.deep.equal([
        'EINVAL',
        'ENOSPC',
        'ENOSPC',
        'EINVAL',
        'EINVAL',
        'EINVAL',
        'EINVAL',
      ]);
    });

    it('closeExport: a request in flight gets ESHUTDOWN, then the connection ends', async () => {
      const { tcpUri, directory, device, listener } = await start({ answers: 'manual' });
      const script = `
h.connect_uri("${tcpUri}")
try: h.pwrite(b"x" * 100000, 0)
except nbd.Error as e: print(e.errno)
try: h.pread(1, 0)
except nbd.Error as e: print("gone")
`;
      const client = expectClient('nbdsh', ['-c', script], { cwd: directory });
      await until('the write is in flight', () => device.waitingCount === 1);
      expect(listener.clientCount('vol')).to.equal(1);
      await listener.closeExport('vol', 'Volume is detached');
      expect(listener.clientCount('vol')).to.equal(0);
      expect((await client).trim().split('\n')).to.deep.equal(['ESHUTDOWN', 'gone']);
      device.release();
    });
  });

  it('client killed in the middle of writing: the server goes on, the next client is served', async () => {
    const { unixUri, directory, device, listener } = await start();
    for (let round = 0; round < 3; round += 1) {
      const abort = new AbortController();
      device.seen.length = 0;
      const killed = runClient(
        'fio',
        [
          '--name=k',
          '--ioengine=nbd',
          `--uri=${unixUri}`,
          '--rw=write',
          '--bs=1M',
          '--iodepth=16',
          '--size=48M',
          '--time_based',
          // One process, so that killing it kills the client.
          '--thread',
          '--runtime=60',
        ],
        { cwd: directory, signal: abort.signal },
      );
      await until('the client writes', () => device.seen.length > 20);
      abort.abort();
      expect((await killed).code).to.equal(null);
      await until('the client is gone', () => listener.clientCount('vol') === 0);
    }
    await expectClient(
      'qemu-io',
      ['-f', 'raw', '-c', 'write -P 5 0 1M', '-c', 'read -P 5 0 1M', unixUri],
      {
        cwd: directory,
      },
    );
  });
});

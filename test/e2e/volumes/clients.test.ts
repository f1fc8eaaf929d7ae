// Real NBD clients on replicated volumes: every byte comes back, whichever process died in between.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { waitFor } from '../../../dev/demo/api-client.ts';
import {
  type AttachedVolume,
  PATIENCE_MS,
  TEST_TIMEOUT_MS,
  TestCluster,
} from '../../integration/cluster/harness.ts';
import { type ClientRun, expectClient, runClient, sha256Of } from '../nbd/clients.ts';

const MiB = 1024 ** 2;
const FILE_MB = 48;

describe('volumes: NBD clients', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let cwd: string;
  /** 48 MiB: random data, a hole of 8 MiB in the middle. */
  let file: string;

  before(async () => {
    cluster = await TestCluster.start({ agents: 3, pgCount: 64, rebuildAfterSeconds: 60 });
    cwd = cluster.directory;
    file = join(cwd, 'source.raw');
    const fd = openSync(file, 'w');
    for (let atMb = 0; atMb < FILE_MB; atMb += 1) {
      if (atMb < 16 || atMb >= 24) writeSync(fd, randomBytes(MiB), 0, MiB, atMb * MiB);
    }
    closeSync(fd);
  });

  after(async () => cluster?.close());

  function qemuIo(uri: string, ...commands: readonly string[]): Promise<ClientRun> {
    const args = ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri];
    return runClient('qemu-io', args, { cwd });
  }

  async function expectQemuIo(uri: string, ...commands: readonly string[]): Promise<void> {
    const run = await qemuIo(uri, ...commands);
    expect(run.code, `${run.stdout}\n${run.stderr}`).to.equal(0);
    expect(run.stdout).not.to.match(/failed/i);
  }

  it('nbdcopy: in with several connections, an executor dies, out is the same', async () => {
    const volume = await cluster.attach('copied', { sizeMb: FILE_MB });
    await expectClient('nbdcopy', ['--connections=4', '--flush', file, volume.tcpUri], { cwd });
    const [victim = ''] = await cluster.othersThan(volume);
    await cluster.kill(await cluster.executorPid(victim));
    const out = join(cwd, 'out.raw');
    await expectClient('nbdcopy', ['--connections=4', volume.unixUri, out], { cwd });
    expect(await sha256Of(out)).to.equal(await sha256Of(file));
    await cluster.waitUntilHealthy();
    await expectClient('nbdcopy', [volume.unixUri, out], { cwd });
    expect(await sha256Of(out), 'after the rebuild').to.equal(await sha256Of(file));
  });

  it('nbdcopy: volume to volume while a data process dies', async () => {
    const source = await cluster.attachAgain('copied');
    const target = await cluster.attach('second', { sizeMb: FILE_MB, replicas: 3 });
    const others = (await cluster.othersThan(source)).filter((name) => name !== target.hostname);
    const victim = others[0] ?? '';
    const copy = expectClient('nbdcopy', ['--flush', source.unixUri, target.unixUri], { cwd });
    await cluster.kill(await cluster.dataPid(victim));
    await copy;
    const compare = ['compare', '-f', 'raw', '-F', 'raw', file, target.tcpUri];
    await expectClient('qemu-img', compare, { cwd });
    await cluster.waitUntilHealthy();
  });

  it('qemu-img: convert, compare, map with holes', async () => {
    const volume = await cluster.attach('converted', { sizeMb: FILE_MB });
    const convert = ['convert', '-n', '-f', 'raw', '-O', 'raw', file, volume.unixUri];
    await expectClient('qemu-img', convert, { cwd });
    const compare = ['compare', '-f', 'raw', '-F', 'raw', file, volume.unixUri];
    expect(await expectClient('qemu-img', compare, { cwd })).to.contain('Images are identical');
    const map = ['map', '--output=json', '-f', 'raw', volume.unixUri];
    const ranges = JSON.parse(await expectClient('qemu-img', map, { cwd })) as readonly {
      readonly start: number;
      readonly length: number;
      readonly zero: boolean;
    }[];
    const holes = ranges.filter((range) => range.zero);
    expect(holes.map(({ start, length }) => [start, length])).to.deep.equal([[16 * MiB, 8 * MiB]]);
  });

  it('qemu-io: unaligned, FUA, write zeroes and discard read back, also after a detach', async () => {
    const volume = await cluster.attach('patterns', { sizeMb: 32 });
    const reads = [
      'read -P 0xab 0 1000',
      'read -P 0x11 1000 3000',
      'read -P 0xab 4000 4192',
      'read -P 0xcd 2M 64k',
      'read -P 0 4M 1M',
      'read -P 0xab 5M 512k',
      'read -P 0 5632k 512k',
      'read -P 0x22 8387584 2048',
      'read -P 0 20M 1M',
    ];
    await expectQemuIo(
      volume.unixUri,
      'write -P 0xab 0 8M',
      'write -P 0x11 1000 3000',
      'write -f -P 0xcd 2M 64k',
      'write -z 4M 1M',
      'discard 5632k 512k',
      // Across the border of two extents of 4 MiB.
      'write -P 0x22 8387584 2048',
      'flush',
      ...reads,
    );
    await expectQemuIo(volume.tcpUri, ...reads);
    await cluster.api.post('/volumes/patterns/detach');
    const again = await cluster.attachAgain('patterns', 'agent3');
    await expectQemuIo(again.unixUri, ...reads);
    const wrong = await qemuIo(again.unixUri, 'read -P 0xac 0 4096');
    expect(wrong.code, 'a wrong pattern is noticed').to.equal(1);
    const beyond = await qemuIo(again.unixUri, 'write -P 1 32M 4k');
    expect(beyond.code, 'a write beyond the end').to.equal(1);
  });

  it('nbdinfo: capabilities, map and list', async () => {
    const volume = await cluster.attachAgain('patterns');
    for (const flag of ['multi-conn', 'flush', 'fua', 'trim', 'zero', 'cache']) {
      await expectClient('nbdinfo', ['--can', flag, volume.unixUri], { cwd });
    }
    const size = await expectClient('nbdinfo', ['--size', volume.tcpUri], { cwd });
    expect(Number(size)).to.equal(32 * MiB);
    const map = await expectClient('nbdinfo', ['--map', volume.unixUri], { cwd });
    const lines = map.trim().split('\n');
    const total = lines.reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[1]), 0);
    expect(total, map).to.equal(32 * MiB);
    expect(map)
      .to.match(/data/)
      .and.to.match(/hole,zero/);
    const list = await expectClient(
      'nbdinfo',
      [
        '--list',
        new URL(volume.tcpUri).origin === 'null'
          ? volume.tcpUri.replace(/\/[^/]*$/, '/')
          : volume.tcpUri,
      ],
      { cwd },
    );
    expect(list).to.contain('patterns');
  });

  for (const transport of ['unix', 'tcp'] as const) {
    it(`gateway: its data process dies, a client that reconnects goes on (${transport})`, async () => {
      const name = `reconnect-${transport}`;
      const volume = await cluster.attach(name, { sizeMb: 64 });
      const client = startWriter(volume, transport);
      await waitFor('the client to write', PATIENCE_MS, async () => {
        return client.written() > 20 ? true : null;
      });
      await cluster.kill(await cluster.dataPid(volume.hostname));
      const run = await client.done;
      expect(run.code, run.stdout.slice(-2_000) + run.stderr).to.equal(0);
      expect(run.stdout).not.to.match(/failed/i);
      const reads = writes().map(([value, atKb]) => `read -P ${value} ${atKb}k 64k`);
      await expectQemuIo((await cluster.attachAgain(name)).unixUri, ...reads);
      await cluster.waitUntilHealthy();
    });
  }

  /** Pattern and place (KiB) of each write. */
  function writes(): readonly (readonly [number, number])[] {
    return Array.from({ length: 300 }, (_, index) => [(index % 250) + 1, index * 192] as const);
  }

  interface Writer {
    readonly done: Promise<ClientRun>;
    written(): number;
  }

  /** Writes with pauses, and connects again for up to 30 s when its connection breaks. */
  function startWriter(volume: AttachedVolume, transport: 'unix' | 'tcp'): Writer {
    const tcp = new URL(volume.tcpUri);
    const socket = new URL(volume.unixUri).searchParams.get('socket') ?? '';
    const server =
      transport === 'tcp'
        ? `server.type=inet,server.host=${tcp.hostname},server.port=${tcp.port}`
        : `server.type=unix,server.path=${socket}`;
    const image = `driver=nbd,${server},export=${volume.name},reconnect-delay=30`;
    const commands = writes().flatMap(([value, atKb]) => [
      '-c',
      `write -P ${value} ${atKb}k 64k`,
      '-c',
      'sleep 5',
    ]);
    const args = ['-oL', 'qemu-io', ...commands, '-c', 'flush', '--image-opts', image];
    const child = spawn('stdbuf', args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const deadline = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
    const done = new Promise<ClientRun>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => {
        clearTimeout(deadline);
        resolve({ code, stdout, stderr });
      });
    });
    return { done, written: () => stdout.match(/^wrote /gm)?.length ?? 0 };
  }
});

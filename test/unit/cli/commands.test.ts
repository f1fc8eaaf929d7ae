/** The command line as people and scripts use it: real processes against a real API over a fixture. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { JobView, VolumeView } from '../../../shared/model/api-views.ts';
import { type ApiFixture, startFixture } from '../../fixture/api-fixture.ts';
import { LARGE, SMALL } from '../../fixture/cluster-views.ts';

const MAIN = fileURLToPath(new URL('../../../cli/main.js', import.meta.url));

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Running {
  readonly outcome: Promise<Outcome>;
  readonly stdout: () => string;
  readonly stderr: () => string;
  interrupt(): void;
}

function start(args: readonly string[], environment: Record<string, string>): Running {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (part: Buffer) => {
    stdout += part.toString();
  });
  child.stderr.on('data', (part: Buffer) => {
    stderr += part.toString();
  });
  const outcome = new Promise<Outcome>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
  return {
    outcome,
    stdout: () => stdout,
    stderr: () => stderr,
    interrupt: () => child.kill('SIGINT'),
  };
}

describe('cli: commands', function () {
  this.timeout(60_000);
  let api: ApiFixture;

  beforeEach(async () => {
    api = await startFixture(SMALL);
  });
  afterEach(() => api.close());

  const cistern = (...args: string[]) => start(args, { CISTERN_API: api.url }).outcome;

  it('status: a healthy cluster, one screen, nothing to do', async () => {
    const { code, stdout, stderr } = await cistern('status');
    expect(code).to.equal(0);
    expect(stderr).to.equal('');
    expect(stdout).to.include('fixture  ✔ ok');
    expect(stdout).to.include('Nothing to do.');
    expect(stdout).to.match(/Capacity {2}█+░+▒+ 48 % used/);
    expect(stdout).to.include('32 clean');
    expect(stdout).to.match(/n3 +agent-3\.example +up +1/);
    expect(stdout.split('\n').length).to.be.lessThan(25);
    expect(stdout).not.to.include('\u001b');
  });

  it('status --json: the views themselves', async () => {
    const { code, stdout } = await cistern('status', '--json');
    expect(code).to.equal(0);
    expect(JSON.parse(stdout)).to.deep.include({ cluster: api.manager.cluster() });
  });

  it('volume: create, list, attach, detach, delete', async () => {
    const created = await cistern(
      ...'volume create fresh --size 10G --replicas 2 --pool default'.split(' '),
    );
    expect(created.code).to.equal(0);
    expect(created.stdout).to.equal('Volume fresh (v3): 10 GiB, 2 replicas, in pool default.\n');
    const listed = await cistern('volume', 'list');
    expect(listed.stdout).to.match(/v3 +fresh +10 GiB +0 B +2 +default +✔ ok +ready/);
    const attached = await cistern('volume', 'attach', 'fresh', '--node', 'n2');
    expect(attached.code).to.equal(0);
    expect(attached.stdout).to.equal('nbd://10.0.0.2:10809/fresh\n');
    expect(attached.stderr).to.include('attached to n2');
    const unix = await cistern('volume', 'attach', 'fresh', '--transport', 'unix');
    expect(unix.stdout).to.equal('nbd+unix:///fresh?socket=/run/cistern/n2.sock\n');
    expect((await cistern('volume', 'show', 'fresh')).stdout).to.match(/Attached to +n2/);
    const refused = await cistern('volume', 'delete', 'fresh');
    expect(refused.code).to.equal(1);
    expect(refused.stderr).to.include('is attached to n2');
    expect((await cistern('volume', 'detach', 'fresh')).stdout).to.include('is detached');
    expect((await cistern('volume', 'delete', 'fresh')).stdout).to.equal('Volume fresh is gone.\n');
  });

  it('attach: on this machine the socket is chosen', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cistern-cli-'));
    const socket = join(folder, 'n1.sock');
    writeFileSync(socket, '');
    const { attachments } = api.manager.contents;
    api.manager.contents.attachments = attachments.map((one) => ({
      ...one,
      unixUri: `nbd+unix:///${one.volumeName}?socket=${socket}`,
    }));
    const { stdout } = await cistern('volume', 'attach', 'db');
    rmSync(folder, { recursive: true });
    expect(stdout).to.equal(`nbd+unix:///db?socket=${socket}\n`);
  });

  it('attach: waits, says on stderr what for, then prints the address alone', async () => {
    await cistern('volume', 'create', 'fresh', '--size', '1G');
    api.manager.isAttachSlow = true;
    const running = start(['volume', 'attach', 'fresh'], { CISTERN_API: api.url });
    await until(() => running.stderr().includes('Waiting: The lease of n3 has not run out yet'));
    expect(running.stdout()).to.equal('');
    api.manager.serveAttachments();
    const { code, stdout } = await running.outcome;
    expect(code).to.equal(0);
    expect(stdout).to.match(/^nbd:\/\/\S+\n$/);
  });

  it('attach: not in time, exit 1 with the reason and what to do', async () => {
    await cistern('volume', 'create', 'fresh', '--size', '1G');
    api.manager.isAttachSlow = true;
    const { code, stdout, stderr } = await cistern('volume', 'attach', 'fresh', '--wait', '1s');
    expect(code).to.equal(1);
    expect(stdout).to.equal('');
    expect(stderr).to.include('does not serve on n1 yet: The lease of n3 has not run out yet');
    expect(stderr).to.include('attaching goes on');
  });

  it('lists and details: nodes, disks, pools, placement groups, jobs, events', async () => {
    expect((await cistern('node', 'list')).stdout).to.match(/n2 +agent-2\.example +up +zone-3/);
    expect((await cistern('node', 'show', 'n1')).stdout).to.match(/d1 +serving +800 GiB +53 %/);
    expect((await cistern('disk', 'list', '--node', 'n2')).stdout).to.match(/^DISK.*\nd2 .*\n$/);
    expect((await cistern('disk', 'show', 'd3')).stdout).to.match(/UUID +0{8}-/);
    expect((await cistern('pool', 'list')).stdout).to.match(/default +tier ssd +3 +2\.3 TiB/);
    expect((await cistern('pool', 'show', 'default')).stdout).to.include('at 80 %');
    const pgs = await cistern('pg', 'list', '--limit', '5');
    expect(pgs.stdout.trimEnd().split('\n')).to.have.length(7);
    expect(pgs.stdout).to.include('… and 27 more');
    expect((await cistern('job', 'list')).stdout).to.match(/j1 +rebalance +default +done/);
    expect((await cistern('job', 'show', 'j1')).stdout).to.match(/fillDeviationRatio +4\.1 %/);
    const events = await cistern('events', '--limit', '2');
    expect(events.stdout.trimEnd().split('\n')).to.have.length(2);
    expect(events.stdout).to.include('Node n3 (agent-3.example) joined');
  });

  it('pool set: what people type becomes what the manager reads', async () => {
    const { code, stdout } = await cistern(
      ...'pool set default --expand-at 75% --cooldown 2m --max-disks none --no-auto-expand'.split(
        ' ',
      ),
    );
    expect(code).to.equal(0);
    expect(stdout).to.include('switched off');
    expect(api.manager.commands.at(-1)).to.deep.equal({
      kind: 'update-pool',
      pool: 'default',
      changes: {
        expandAtRatio: 0.75,
        expandCooldownMs: 120_000,
        diskCountMax: null,
        isAutoExpand: false,
      },
    });
  });

  it('pool create, apply FILE: options and sizes become what the manager reads', async () => {
    const words = 'pool create fast --tier nvme,ssd --path /mnt/a-*,/mnt/b --share 50%';
    const more = '--size-min 100G --nodes 3 --attribute rack=r1 --root-disks --piece none';
    const created = await cistern(...words.split(' '), ...more.split(' '));
    expect(created.code, created.stderr).to.equal(0);
    const directory = mkdtempSync(join(tmpdir(), 'cistern-pools-'));
    const file = join(directory, 'pools.json');
    writeFileSync(file, '{"pools":[{"name":"default","selector":{"sizeMaxBytes":"1G"}}]}');
    const applied = await cistern('apply', file);
    expect(applied.stdout).to.match(/^The pools are in force; j\d+ moves the disks/);
    expect((await cistern('plan', file)).stdout).to.equal('Nothing to change.\n');
    writeFileSync(file, '{"pools":');
    expect((await cistern('plan', file)).code).to.equal(2);
    rmSync(directory, { recursive: true });
    const selector = {
      attributes: { rack: 'r1' },
      tiers: ['nvme', 'ssd'],
      paths: ['/mnt/a-*', '/mnt/b'],
      sizeMinBytes: 100 * 1024 ** 3,
      shareRatioMax: 0.5,
      pieceBytes: null,
      nodesMax: 3,
      isRootAllowed: true,
    };
    const document = {
      pools: [{ name: 'default', selector: { sizeMaxBytes: 1024 ** 3 } }],
      isWhole: false,
    };
    expect(api.manager.commands).to.deep.equal([
      { kind: 'create-pool', pool: { name: 'fast', selector } },
      { kind: 'apply-pools', document },
    ]);
  });

  it('scrub: started for a pool, shown, stopped', async () => {
    const started = await cistern('scrub', 'start', 'default');
    expect(started.stdout).to.match(/Scrub of default has begun: j\d+\./);
    expect(api.manager.commands.at(-1)).to.deep.equal({
      kind: 'start-scrub',
      scope: { pool: 'default', volume: null, disk: null },
      isScheduled: false,
    });
    expect((await cistern('scrub', 'status')).stdout).to.match(/Scrub +j\d+ of default, running/);
    expect((await cistern('scrub', 'stop')).stdout).to.match(/Scrub j\d+ of default is cancelled/);
    expect((await cistern('scrub', 'stop')).stdout).to.equal('No scrub is running.\n');
    const unknown = await cistern('scrub', 'start', 'nothing');
    expect(unknown.code).to.not.equal(0);
  });

  it('drain --wait: lines of progress on stderr, exit 0 when it is done', async () => {
    const running = start(['node', 'drain', 'n3', '--wait'], { CISTERN_API: api.url });
    await until(() => api.manager.jobs().length === 2);
    for (const ratio of [0.25, 0.5]) {
      api.manager.progress('j2', ratio);
      await until(() => running.stderr().includes(`j2 drain n3: ${ratio * 100} %`));
    }
    api.manager.progress('j2', 1);
    const { code, stdout, stderr } = await running.outcome;
    expect(code).to.equal(0);
    expect(stdout).to.equal('Node n3 is draining.\n');
    expect(stderr).to.include('j2 drain n3: done');
    expect(stderr).not.to.include('\u001b');
  });

  it('job watch: a cancelled job is a failure', async () => {
    await cistern('disk', 'drain', 'd1');
    const running = start(['job', 'watch', 'j2', '--json'], { CISTERN_API: api.url });
    await until(() => api.manager.jobs().length === 2);
    expect((await cistern('job', 'cancel', 'j2')).stdout).to.equal('Job j2 is cancelled.\n');
    const { code, stdout } = await running.outcome;
    expect(code).to.equal(1);
    expect((JSON.parse(stdout) as JobView[])[0]?.state).to.equal('cancelled');
  });

  it('events --follow: goes on with new ones, ends well with Ctrl-C', async () => {
    const running = start(['events', '--follow', '--json'], { CISTERN_API: api.url });
    await until(() => running.stdout().trimEnd().split('\n').length === 3);
    await until(() => api.manager.listenerCount === 1);
    api.manager.addEvent({ severity: 'error', kind: 'disk.failed', message: 'new', subject: 'd1' });
    await until(() => running.stdout().includes('"message":"new"'));
    running.interrupt();
    const { code, stdout } = await running.outcome;
    expect(code).to.equal(0);
    for (const line of stdout.trimEnd().split('\n'))
      expect(JSON.parse(line)).to.have.property('id');
  });

  it("json: every list is the API's own", async () => {
    const { stdout } = await cistern('volume', 'list', '--json');
    expect(JSON.parse(stdout) as VolumeView[]).to.deep.equal(api.manager.volumes());
    expect(JSON.parse((await cistern('pg', 'list', '--json')).stdout)).to.have.length(32);
  });

  it('refused by the API: exit 1 and the reason; as JSON with --json', async () => {
    const text = await cistern('node', 'show', 'n99');
    expect(text.code).to.equal(1);
    expect(text.stderr).to.equal('Failed: No node is called "n99"; known: n1, n2, n3\n');
    const json = await cistern('node', 'show', 'n99', '--json');
    expect(json.stdout).to.equal('');
    expect(JSON.parse(json.stderr)).to.have.nested.property('error.code', 'not-found');
  });
});

describe('cli: a large cluster in trouble', function () {
  this.timeout(60_000);

  it('status: reasons first with what happens next, jobs with time left, nodes in trouble on top', async () => {
    const api = await startFixture(LARGE);
    const { code, stdout } = await start(['status'], { CISTERN_API: api.url }).outcome;
    await api.close();
    expect(code).to.equal(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).to.include('▲ degraded');
    expect(lines[1]).to.match(/^• Node n2/);
    expect(lines[2]).to.match(/^ {2}→ Its replicas are made again elsewhere/);
    expect(stdout).to.match(/j2 {2}rebuild n2 .* 40 % .*38m 24s left/);
    const table = lines.findIndex((line) => line.startsWith('NODE'));
    expect(lines[table + 1]).to.match(/^n1 .*5 of 6/);
    expect(lines[table + 2]).to.match(/^n2 .*down/);
    expect(stdout).to.include('more nodes (cistern node list)');
    expect(lines.length).to.be.at.most(42);
  });
});

describe('cli: wrong usage', function () {
  this.timeout(60_000);

  for (const [line, said] of [
    ['', /Which command\?/],
    ['nonsense', /There is no/],
    ['statu', /Did you mean status/],
    ['status --frob', /There is no "frob"/],
    ['volume', /What about volumes\?/],
    ['volume create', /which one/],
    ['volume create x', /--size is missing/],
    ['volume create x --size 10X', /"--size" is "10X", allowed: a size like/],
    ['volume create x --size 1G --replicas many', /"--replicas" is "many"/],
    ['volume attach x --transport pigeon', /pigeon/],
    ['pool set default', /No setting was given/],
    ['pool set default --full-at 95', /"--full-at" is "95"/],
    ['pg list --state odd', /odd/],
    ['events --limit 0', /"--limit" is "0"/],
    ['status --api ftp://x', /"--api" is "ftp:\/\/x"/],
  ] as const) {
    it(`usage: "cistern ${line}", exit 2 and nothing is done`, async () => {
      const args = line === '' ? [] : line.split(' ');
      const { code, stdout, stderr } = await start(args, { CISTERN_API: 'http://127.0.0.1:9' })
        .outcome;
      expect(code, stderr).to.equal(2);
      expect(stdout).to.equal('');
      expect(stderr).to.match(said);
      expect(stderr).not.to.match(/\.js:\d/);
    });
  }

  it('help: lists all commands, exit 0', async () => {
    const { code, stdout } = await start(['--help'], {}).outcome;
    expect(code).to.equal(0);
    for (const name of [
      'status',
      'volume',
      'pool',
      'node',
      'disk',
      'pg',
      'job',
      'events',
      'dev',
      'demo',
    ]) {
      expect(stdout).to.include(`cistern ${name}`);
    }
  });
});

describe('cli: unreachable', function () {
  this.timeout(60_000);
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cistern-cli-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('nothing listens: exit 3 with address, reason and what to do', async () => {
    const api = await startFixture(SMALL);
    await api.close();
    const { code, stdout, stderr } = await start(['status', '--api', api.url], {}).outcome;
    expect(code).to.equal(3);
    expect(stdout).to.equal('');
    expect(stderr).to.include(`The cluster at ${api.url} cannot be reached`);
    expect(stderr).to.include('nothing listens there');
    expect(stderr).to.include('cistern dev status');
  });

  it('no address known: exit 3 and how to get one', async () => {
    const { code, stderr } = await start(['status'], { CISTERN_DEV_DIR: folder }).outcome;
    expect(code).to.equal(3);
    expect(stderr).to.include(join(folder, 'cluster.json'));
    expect(stderr).to.include('cistern dev up');
  });

  it('development cluster: found through its state file', async () => {
    const api = await startFixture(SMALL);
    writeFileSync(join(folder, 'cluster.json'), JSON.stringify({ api: api.url }));
    const { code } = await start(['status'], { CISTERN_DEV_DIR: folder }).outcome;
    await api.close();
    expect(code).to.equal(0);
  });

  it('another server answers: exit 3, it is no Cistern', async () => {
    const server = createServer((_request, response) => response.end('<html>hello</html>'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const { code, stderr } = await start(['status', '--api', `127.0.0.1:${port}`], {}).outcome;
    server.close();
    expect(code).to.equal(3);
    expect(stderr).to.include('is no Cistern scheduler');
  });

  it('not leading: exit 1 and why', async () => {
    const api = await startFixture(SMALL);
    api.manager.setLeadership({ isLeading: false, reason: 'it waits for its turn' });
    const { code, stderr } = await start(['status', '--api', api.url], {}).outcome;
    await api.close();
    expect(code).to.equal(1);
    expect(stderr).to.include('it waits for its turn');
  });
});

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Not in time: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

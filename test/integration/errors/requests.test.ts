// Bad requests and a bad start: each is refused with a clear error, and nothing changes.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { waitFor } from '../../../dev/demo/api-client.ts';
import {
  type CliRun,
  DIST,
  messageOf,
  PATIENCE_MS,
  runNode,
  TEST_TIMEOUT_MS,
  TestCluster,
} from '../cluster/harness.ts';

const MiB = 1024 ** 2;

interface BadRequest {
  readonly what: string;
  readonly method?: 'GET' | 'POST' | 'DELETE' | 'PATCH';
  readonly path: string;
  readonly body?: unknown;
  readonly status: number;
  readonly message: RegExp;
}

const volume = { name: 'new', sizeBytes: MiB };

const BAD_REQUESTS: readonly BadRequest[] = [
  {
    what: 'unknown volume',
    path: '/volumes/nope/attach',
    body: {},
    status: 404,
    message: /No volume is called "nope"; known: kept/,
  },
  {
    what: 'unknown volume, deleted',
    method: 'DELETE',
    path: '/volumes/nope',
    status: 404,
    message: /No volume is called "nope"/,
  },
  {
    what: 'unknown node',
    path: '/volumes/kept/attach',
    body: { node: 'agent99' },
    status: 404,
    message: /"agent99"/,
  },
  {
    what: 'size 0',
    path: '/volumes',
    body: { ...volume, sizeBytes: 0 },
    status: 400,
    message: /"sizeBytes" is 0, allowed: .*at least 4096/,
  },
  {
    what: 'size beyond what the format can address',
    path: '/volumes',
    body: { ...volume, sizeBytes: 2 ** 51 },
    status: 400,
    message: /at most 1125899906842624/,
  },
  {
    what: 'size beyond what the pool may promise',
    path: '/volumes',
    body: { ...volume, sizeBytes: 2 ** 46 },
    status: 507,
    message: /64 TiB with 2 replicas would promise 128 TiB .* allowed are/,
  },
  {
    what: 'size that is no whole number of blocks',
    path: '/volumes',
    body: { ...volume, sizeBytes: 'much' },
    status: 400,
    message: /"sizeBytes" is "much"/,
  },
  {
    what: 'name with a slash',
    path: '/volumes',
    body: { ...volume, name: 'a/b' },
    status: 400,
    message: /"name" is "a\/b", allowed/,
  },
  {
    what: 'name that would climb out of its directory',
    path: '/volumes',
    body: { ...volume, name: '..' },
    status: 400,
    message: /"name" is "\.\.", allowed/,
  },
  {
    what: 'name that exists',
    path: '/volumes',
    body: { ...volume, name: 'kept' },
    status: 409,
    message: /"kept" exists already/,
  },
  {
    what: 'more replicas than failure domains',
    path: '/volumes',
    body: { ...volume, replicas: 4 },
    status: 503,
    message: /Cannot place 4 replicas .* 3 nodes/,
  },
  {
    what: 'unknown pool',
    path: '/volumes',
    body: { ...volume, pool: 'gold' },
    status: 400,
    message: /"gold"/,
  },
  {
    what: 'unknown field',
    path: '/volumes',
    body: { ...volume, colour: 'red' },
    status: 400,
    message: /colour/,
  },
  {
    what: 'limits in the wrong order',
    method: 'PATCH',
    path: '/pools/default',
    body: { expandAtRatio: 0.9, fullAtRatio: 0.5 },
    status: 400,
    message: /fullAtRatio|expandAtRatio/,
  },
  {
    what: 'unknown node, drained',
    path: '/nodes/n99/drain',
    body: {},
    status: 404,
    message: /n99/,
  },
  {
    what: 'node that is up, forgotten',
    path: '/nodes/agent1/forget',
    body: {},
    status: 409,
    message: /agent1|n1/,
  },
  {
    what: 'unknown disk',
    path: '/disks/d99/activate',
    body: {},
    status: 404,
    message: /d99/,
  },
];

const QUIET_MS = 3_000;

describe('errors: bad requests and bad starts', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;

  before(async () => {
    cluster = await TestCluster.start({ agents: 3, pgCount: 16, disksPerAgent: 1 });
    await cluster.api.post('/volumes', { name: 'kept', sizeBytes: 8 * MiB });
    await waitFor('nothing changes by itself any more', PATIENCE_MS, async () => {
      const before = JSON.stringify(await facts());
      // Longer than nodes take to tell of a map, on which the next change waits.
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
      return JSON.stringify(await facts()) === before ? true : null;
    });
  });

  after(async () => cluster?.close());

  /** What must not change. */
  async function facts(): Promise<unknown> {
    const { mapVersion, volumeCount, attachedCount, health } = await cluster.cluster();
    const { capacity: _, ...pool } = await cluster.pool();
    const nodes = (await cluster.nodes()).map(({ id, state }) => [id, state]);
    const agents = (await cluster.agents()).map((agent) => agent.pid);
    return { mapVersion, volumeCount, attachedCount, health, pool, nodes, agents };
  }

  for (const { what, method = 'POST', path, body, status, message } of BAD_REQUESTS) {
    it(`request: ${what}, refused`, async () => {
      const before = await facts();
      const answer = await cluster.call(method, path, body);
      expect(messageOf(answer), JSON.stringify(answer.body)).to.match(message);
      expect(answer.status).to.equal(status);
      expect(await facts()).to.deep.equal(before);
    });
  }

  it('command line: the same errors, and exit codes to go with them', async () => {
    const before = await facts();
    const commands: readonly (readonly [readonly string[], RegExp])[] = [
      [['volume', 'attach', 'nope'], /No volume is called "nope"/],
      [['volume', 'create', 'a/b', '--size', '1G'], /"a\/b"/],
      [['volume', 'create', 'new', '--size', '0'], /size|0/i],
      [['volume', 'create', 'new', '--size', '1G', '--replicas', '9'], /replicas/],
      [['volume', 'create', 'new', '--size', 'large'], /"large"/],
      [['dev', 'agent', 'kill', 'agent99'], /"agent99"/],
    ];
    for (const [args, message] of commands) {
      const run = await cluster.cli(...args);
      expect(run.stderr, args.join(' ')).to.match(message);
      expect(run.code, args.join(' ')).to.be.above(0);
    }
    expect(await facts()).to.deep.equal(before);
  });

  // ── A scheduler that cannot start ──────────────────────────────────────────────────────────

  function startScheduler(settings: Readonly<Record<string, string>>): Promise<CliRun> {
    return runNode([join(DIST, 'scheduler', 'main.js')], {
      CISTERN_NAME: 'dev',
      CISTERN_MASTER: cluster.state.master,
      CISTERN_HOST_LISTEN: '127.0.0.1',
      CISTERN_API_PORT: '0',
      CISTERN_CONTROL_PORT: '0',
      CISTERN_EXECUTOR_COMMAND: 'exit 1',
      CISTERN_STATE_DIR: join(cluster.directory, 'other-state'),
      ...settings,
    });
  }

  async function expectRefusal(
    settings: Readonly<Record<string, string>>,
    message: RegExp,
  ): Promise<void> {
    const before = await facts();
    const run = await startScheduler(settings);
    expect(run.stderr).to.match(message);
    expect(run.code).to.be.above(0);
    expect(await facts()).to.deep.equal(before);
  }

  function occupy(): Promise<{ readonly server: Server; readonly port: string }> {
    return new Promise((resolve, reject) => {
      const server = createServer();
      server.on('error', reject);
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        const port = typeof address === 'object' && address !== null ? address.port : 0;
        resolve({ server, port: String(port) });
      });
    });
  }

  for (const name of ['API', 'CONTROL'] as const) {
    it(`scheduler: ${name} port is in use, says so and ends`, async () => {
      const { server, port } = await occupy();
      try {
        await expectRefusal(
          { [`CISTERN_${name}_PORT`]: port },
          new RegExp(`:${port}|port ${port}`),
        );
      } finally {
        server.close();
      }
    });
  }

  it('scheduler: state directory of a running scheduler, refused', async () => {
    const settings = { CISTERN_STATE_DIR: cluster.paths.store };
    await expectRefusal(settings, new RegExp(`in use by .*${cluster.schedulerPid}`));
  });

  it('scheduler: state directory of another cluster, refused', async () => {
    const { clusterId } = await cluster.cluster();
    await cluster.cli('dev', 'down');
    await expectRefusalOffline(
      { CISTERN_NAME: 'other', CISTERN_STATE_DIR: cluster.paths.store },
      /holds cluster "dev", this scheduler is for cluster "other"/,
    );
    await cluster.restart();
    expect((await cluster.cluster()).clusterId).to.equal(clusterId);
    await cluster.waitUntilHealthy();
  });

  /** As above while no cluster runs. */
  async function expectRefusalOffline(
    settings: Readonly<Record<string, string>>,
    message: RegExp,
  ): Promise<void> {
    const run = await startScheduler(settings);
    expect(run.stderr).to.match(message);
    expect(run.code).to.be.above(0);
  }

  it('scheduler: state directory with foreign files, refused and left alone', async () => {
    const directory = join(cluster.directory, 'foreign');
    mkdirSync(directory);
    writeFileSync(join(directory, 'letter.txt'), 'dear reader');
    await expectRefusal({ CISTERN_STATE_DIR: directory }, /foreign.*letter\.txt/);
    expect(readdirSync(directory)).to.deep.equal(['letter.txt']);
    expect(readFileSync(join(directory, 'letter.txt'), 'utf8')).to.equal('dear reader');
  });

  it('scheduler: state directory whose store is damaged, refused and left alone', async () => {
    const directory = join(cluster.directory, 'damaged');
    mkdirSync(directory);
    const garbage = Buffer.alloc(65_536, 0xa5);
    writeFileSync(join(directory, 'data.mdb'), garbage);
    await expectRefusal(
      { CISTERN_STATE_DIR: directory },
      /damaged".*does not begin like a database/,
    );
    expect(readFileSync(join(directory, 'data.mdb')).equals(garbage)).to.equal(true);
  });

  it('scheduler: settings that make no sense, named', async () => {
    await expectRefusal({ CISTERN_PG_COUNT: '100' }, /CISTERN_PG_COUNT.*"?100"?.*power of two/);
    await expectRefusal({ CISTERN_API_PORT: 'http' }, /CISTERN_API_PORT.*"http"/);
    await expectRefusal({ CISTERN_MASTER: 'ftp://x' }, /ftp:\/\/x/);
  });
});

/**
 * Three schedulers from the app definition itself and a real release, on a machine that (for them) has
 * no Node.js: election over a real ZooKeeper, executors from the bundle, an upgrade, the death of the leader.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { request } from 'undici';
import { waitFor } from '../../../dev/demo/api-client.ts';
import { MesosStandIn } from '../../../dev/mesos/cluster.ts';
import { present } from '../../../shared/base/assert.ts';
import type { DiskView, VolumeView } from '../../../shared/model/api-views.ts';
import { ZooKeeperEnsemble } from '../../fixture/zookeeper-ensemble.ts';
import { PROJECT_ROOT } from '../../tidy/source-tree.ts';
import { type AppDefinition, AppRunner, type Instance } from './app-runner.ts';

/** For what has gone wrong, not for slow machines. */
const PATIENCE_MS = 120_000;
const HOSTS = ['127.0.0.1', '127.0.0.2', '127.0.0.3'];
const AGENTS = ['agent1', 'agent2'];

describe('marathon: three schedulers from marathon.json and a release', function () {
  this.timeout(4 * PATIENCE_MS);
  let directory: string;
  let zookeeper: ZooKeeperEnsemble | null = null;
  let mesos: MesosStandIn | null = null;
  let runner: AppRunner | null = null;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'cistern-marathon-'));
    execFileSync(process.execPath, [join(PROJECT_ROOT, 'scripts/build-release.mjs')], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    zookeeper = await ZooKeeperEnsemble.start(1);
    mesos = await MesosStandIn.start({ directory: join(directory, 'mesos'), masterPort: 0 });
    for (const name of AGENTS) {
      await mesos.addAgent({
        name,
        zone: `zone-of-${name}`,
        attributes: {},
        cpus: 4,
        mem: 4096,
        ports: { begin: 31000, end: 31099 },
        disks: [{ kind: 'mount', sizeMb: 256 }],
      });
    }
  });

  after(async () => {
    await runner?.close();
    await mesos?.close();
    await zookeeper?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('marathon: launched, upgraded and its leader killed: executors go on, and one always answers', async () => {
    const release = join(PROJECT_ROOT, 'dist', 'release');
    const app = JSON.parse(
      readFileSync(join(PROJECT_ROOT, 'marathon.json'), 'utf8'),
    ) as AppDefinition;
    const { servers } = present(zookeeper, 'ZooKeeper');
    runner = new AppRunner(app, {
      directory: join(directory, 'marathon'),
      hosts: HOSTS,
      files: Object.fromEntries(
        app.fetch.map(({ uri }) => [uri, join(release, uri.slice(uri.lastIndexOf('/') + 1))]),
      ),
      environment: {
        CISTERN_MASTER: present(mesos, 'Mesos').masterUrl,
        CISTERN_STORE: `zk://${servers.join(',')}/cistern/production`,
        CISTERN_PG_COUNT: '16',
        CISTERN_EXECUTOR_CPUS: '0.5',
        CISTERN_EXECUTOR_ENV: `CISTERN_SOCKET_DIR=${directory},CISTERN_NODE_HOST=127.0.0.1`,
      },
      timeScale: 20,
    });
    await runner.start(PATIENCE_MS);
    await oneLeads(runner);
    expect(await countOf(runner, 'standby')).to.equal(2);

    await waitFor('disks serve', PATIENCE_MS, async () => {
      const disks = await ask<readonly DiskView[]>(await leaderOf(runner), '/v1/disks');
      return disks.filter(({ state }) => state === 'serving').length === AGENTS.length
        ? true
        : null;
    });
    const executors = executorPids(mesos);
    expect(executors).to.have.length(AGENTS.length);
    for (const pid of executors) {
      expect(readlinkSync(`/proc/${pid}/exe`), 'the Node.js of the bundle').to.match(
        /\/cistern-node\/bin\/node$/,
      );
    }
    const created = await tell(await standbyOf(runner), '/v1/volumes', {
      name: 'data',
      sizeBytes: 16 * 1024 * 1024,
    });
    expect(created, 'a standby sends writers on').to.be.within(200, 202);

    await runner.upgrade(PATIENCE_MS);
    expect(runner.leastHealthy, 'never all of them').to.be.at.least(2);
    await oneLeads(runner);

    await runner.kill(await leaderOf(runner), PATIENCE_MS);
    await oneLeads(runner);
    const volumes = await ask<readonly VolumeView[]>(await leaderOf(runner), '/v1/volumes');
    expect(volumes.map(({ name }) => name)).to.deep.equal(['data']);
    expect(executorPids(mesos), 'no executor was started again').to.deep.equal(executors);
    expect(runner.killedByChecks).to.equal(0);
  });
});

function executorPids(mesos: MesosStandIn | null): readonly number[] {
  const { agents } = present(mesos, 'Mesos').state();
  return agents.flatMap(({ executorPids: pids }) => pids).sort((a, b) => a - b);
}

async function countOf(runner: AppRunner | null, role: string): Promise<number> {
  const roles = await Promise.all(present(runner, 'runner').instances.map(roleOf));
  return roles.filter((one) => one === role).length;
}

/** Waits for it: after a failover all may stand by for a while. */
function oneLeads(runner: AppRunner | null): Promise<true> {
  return waitFor('one leads', PATIENCE_MS, async () =>
    (await countOf(runner, 'leader')) === 1 ? true : null,
  );
}

async function roleOf(instance: Instance): Promise<string> {
  try {
    return (await ask<{ readonly role: string }>(instance, '/health')).role;
  } catch {
    return 'silent';
  }
}

async function withRole(runner: AppRunner | null, role: string): Promise<Instance> {
  for (const instance of present(runner, 'runner').instances) {
    if ((await roleOf(instance)) === role) return instance;
  }
  throw new Error(`No scheduler is ${role}`);
}

const leaderOf = (runner: AppRunner | null): Promise<Instance> => withRole(runner, 'leader');
const standbyOf = (runner: AppRunner | null): Promise<Instance> => withRole(runner, 'standby');

async function ask<T>({ host, ports }: Instance, path: string): Promise<T> {
  const { body } = await request(`http://${host}:${ports[0]}${path}`, {
    signal: AbortSignal.timeout(10_000),
  });
  return (await body.json()) as T;
}

/** Follows a redirect, as `fetch` does; the status. */
async function tell({ host, ports }: Instance, path: string, content: object): Promise<number> {
  const answer = await fetch(`http://${host}:${ports[0]}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(content),
  });
  return answer.status;
}

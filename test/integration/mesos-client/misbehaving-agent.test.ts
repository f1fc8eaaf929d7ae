import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createMesosExecutor, type MesosExecutor } from '../../../executor/mesos.ts';
import { readMesosEnvironment } from '../../../executor/mesos-environment.ts';
import { systemClock } from '../../../shared/node/clock.ts';
import { systemRandom } from '../../../shared/node/random.ts';
import { until } from './harness.ts';
import { openStream, type Received, refuse, ScriptedServer } from './scripted-server.ts';

const SUBSCRIBED = {
  type: 'SUBSCRIBED',
  subscribed: {
    executor_info: { executor_id: { value: 'e1' } },
    framework_info: { user: 'root', name: 'test' },
    agent_info: { hostname: 'host-1' },
  },
};
const LAUNCH = {
  type: 'LAUNCH',
  launch: { task: { name: 't', task_id: { value: 't1' }, agent_id: { value: 'S1' } } },
};

describe('mesos client: agents that behave badly', function () {
  this.timeout(60_000);
  let server: ScriptedServer | null = null;
  let executor: MesosExecutor | null = null;
  let launches: string[] = [];
  let gaveUp: string[] = [];
  let hosts: string[] = [];

  afterEach(async () => {
    executor?.close();
    await server?.close();
    executor = null;
    server = null;
    launches = [];
    gaveUp = [];
    hosts = [];
  });

  async function serve(
    answer: (request: Received, index: number) => void,
    at?: { readonly path: string },
  ): Promise<ScriptedServer> {
    server = await ScriptedServer.listen(answer, at);
    return server;
  }

  function start(more: Record<string, string>): MesosExecutor {
    const environment = readMesosEnvironment({
      MESOS_FRAMEWORK_ID: 'fw',
      MESOS_EXECUTOR_ID: 'e1',
      MESOS_SLAVE_ID: 'S1',
      MESOS_SLAVE_PID: `slave(1)@${more['MESOS_AGENT_ENDPOINT'] ?? '127.0.0.1:1'}`,
      MESOS_CHECKPOINT: '1',
      MESOS_SANDBOX: '/tmp',
      ...more,
    });
    executor = createMesosExecutor({
      environment,
      contentType: 'application/json',
      onLaunch: (task) => launches.push(task.task_id.value),
      onKill: () => undefined,
      onMessage: () => undefined,
      onShutdown: () => undefined,
      onGiveUp: (reason) => gaveUp.push(reason),
      onSubscribed: (agent) => hosts.push(agent.hostname),
      log: () => undefined,
      clock: systemClock,
      random: systemRandom,
    });
    return executor;
  }

  it('404, 503, then 200: subscribed; token and path as the agent gave them', async () => {
    const at = await serve((request, index) => {
      if (index < 2) refuse(request, index === 0 ? 404 : 503);
      else openStream(request, [SUBSCRIBED, LAUNCH]);
    });
    start({ MESOS_AGENT_ENDPOINT: at.address, MESOS_EXECUTOR_AUTHENTICATION_TOKEN: 'tok' });
    await until('launched', () => launches.length === 1);
    expect(hosts).to.deep.equal(['host-1']);
    expect(at.received[0]?.path).to.equal('/slave(1)/api/v1/executor');
    expect(at.received[2]?.headers.authorization).to.equal('Bearer tok');
  });

  it('domain socket: used instead of the network', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'mesosclient-'));
    try {
      const path = join(directory, 'agent.sock');
      await serve((request) => openStream(request, [SUBSCRIBED]), { path });
      start({ MESOS_AGENT_ENDPOINT: '127.0.0.1:1', MESOS_DOMAIN_SOCKET: path });
      await until('subscribed', () => hosts.length === 1);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('stream breaks before the updates are stored: they travel with the next subscription', async () => {
    let streams = 0;
    const at = await serve((request) => {
      if (request.body['type'] !== 'SUBSCRIBE') {
        refuse(request, 202);
        return;
      }
      streams += 1;
      openStream(request, streams === 1 ? [SUBSCRIBED, LAUNCH] : [SUBSCRIBED]);
    });
    const mine = start({ MESOS_AGENT_ENDPOINT: at.address });
    await until('launched', () => launches.length === 1);
    mine.update('t1', 'TASK_RUNNING', { message: 'serving' });
    await until('update arrived', () => at.types.includes('UPDATE'));
    at.received[0]?.response.destroy();
    await until('subscribed again', () => hosts.length === 2);
    const again = at.received.findLast(({ body }) => body['type'] === 'SUBSCRIBE');
    const update = at.received.find(({ body }) => body['type'] === 'UPDATE');
    expect(again?.body['subscribe']).to.deep.equal({
      unacknowledged_tasks: [LAUNCH.launch.task],
      unacknowledged_updates: [update?.body['update']],
    });
  });

  it('the agent does not come back: given up after the recovery timeout', async () => {
    const at = await serve((request) => openStream(request, [SUBSCRIBED]));
    start({
      MESOS_AGENT_ENDPOINT: at.address,
      MESOS_RECOVERY_TIMEOUT: '600ms',
      MESOS_SUBSCRIPTION_BACKOFF_MAX: '100ms',
    });
    await until('subscribed', () => hosts.length === 1);
    await at.close();
    await until('given up', () => gaveUp.length === 1);
    expect(gaveUp[0]).to.match(/was away for \d+ ms/);
  });

  it('without checkpointing: gives up as soon as the stream ends', async () => {
    const at = await serve((request) => openStream(request, [SUBSCRIBED]));
    start({ MESOS_AGENT_ENDPOINT: at.address, MESOS_CHECKPOINT: '0' });
    await until('subscribed', () => hosts.length === 1);
    at.received[0]?.response.end();
    await until('given up', () => gaveUp.length === 1);
    expect(gaveUp[0]).to.match(/nothing is checkpointed/);
  });

  it('refused for good (403), or told ERROR: gives up', async () => {
    const at = await serve((request) => refuse(request, 403, 'claims do not match'));
    start({ MESOS_AGENT_ENDPOINT: at.address });
    await until('given up', () => gaveUp.length === 1);
    expect(gaveUp[0]).to.match(/HTTP 403: claims do not match/);
  });

  it('told to shut down: does not come back when the stream ends', async () => {
    const at = await serve((request) => {
      openStream(request, [SUBSCRIBED, { type: 'SHUTDOWN' }]);
      request.response.end();
    });
    start({ MESOS_AGENT_ENDPOINT: at.address, MESOS_SUBSCRIPTION_BACKOFF_MAX: '20ms' });
    await until('subscribed', () => hosts.length === 1);
    await new Promise((resolve) => {
      setTimeout(resolve, 300);
    });
    expect(at.received).to.have.length(1);
    expect(gaveUp).to.deep.equal([]);
  });
});

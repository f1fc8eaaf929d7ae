import { expect } from 'chai';
import { executor, launch, reserve, scalar, task } from './operations.ts';
import { FRAMEWORK, post, RawScheduler, waitFor } from './raw-scheduler.ts';
import { agentSpec, closeStandIns, startStandIn } from './stand-in-fixture.ts';

const JSON_HEADERS = { 'Content-Type': 'application/json' };

describe('stand-in: misbehaviour, lint, control', function () {
  this.timeout(60_000);
  afterEach(closeStandIns);

  for (const chunking of ['bytes', 'coalesce', 'random'] as const) {
    it(`streams cut into pieces, the same events (${chunking})`, async () => {
      const standIn = await startStandIn();
      standIn.misbehave({ chunking });
      const scheduler = new RawScheduler(standIn.masterUrl);
      await scheduler.subscribe();
      const offer = await scheduler.nextOffer();
      const operations = [launch(task(offer, 'task-1', executor('node-1')))];
      await scheduler.call({ type: 'ACCEPT', accept: { offer_ids: [offer.id], operations } });
      await scheduler.nextUpdate('task-1', 'TASK_RUNNING');
      expect(scheduler.events[0]?.type).to.equal('SUBSCRIBED');
      scheduler.close();
    });
  }

  it('duplicated updates, twice the same uuid', async () => {
    const standIn = await startStandIn();
    standIn.misbehave({ duplicateUpdates: true });
    const scheduler = new RawScheduler(standIn.masterUrl);
    await scheduler.subscribe();
    const offer = await scheduler.nextOffer();
    const operations = [launch(task(offer, 'task-1', executor('node-1')))];
    await scheduler.call({ type: 'ACCEPT', accept: { offer_ids: [offer.id], operations } });
    const first = await scheduler.nextUpdate('task-1', 'TASK_RUNNING');
    const second = await scheduler.nextUpdate('task-1', 'TASK_RUNNING');
    expect(second.uuid).to.deep.equal(first.uuid);
    scheduler.close();
  });

  it('an update that is not acknowledged, sent again, and nothing after it', async () => {
    const standIn = await startStandIn([agentSpec('agent1')], { timeScale: 50 });
    const scheduler = new RawScheduler(standIn.masterUrl);
    scheduler.acknowledges = false;
    await scheduler.subscribe();
    const offer = await scheduler.nextOffer();
    const operations = [launch(task(offer, 'task-1', executor('node-1')))];
    await scheduler.call({ type: 'ACCEPT', accept: { offer_ids: [offer.id], operations } });
    const first = await scheduler.nextUpdate('task-1', 'TASK_STARTING');
    const again = await scheduler.nextUpdate('task-1', 'TASK_STARTING');
    expect(again.uuid).to.deep.equal(first.uuid);
    const states = scheduler.events.flatMap((one) => one.update?.status.state ?? []);
    expect(new Set(states)).to.deep.equal(new Set(['TASK_STARTING']));
    await scheduler.acknowledge(first);
    await scheduler.nextUpdate('task-1', 'TASK_RUNNING');
    scheduler.close();
  });

  it('heartbeats stopped, the stream stays open', async () => {
    const standIn = await startStandIn([], { timeScale: 100 });
    const scheduler = new RawScheduler(standIn.masterUrl);
    await scheduler.subscribe();
    for (let count = 0; count < 3; count++) {
      await scheduler.next('a heartbeat', (one) => one.type === 'HEARTBEAT');
    }
    standIn.misbehave({ stopHeartbeats: true });
    const before = scheduler.events.length;
    await scheduler.call({
      type: 'RECONCILE',
      reconcile: { tasks: [{ task_id: { value: 'x' } }] },
    });
    await scheduler.nextUpdate('x', 'TASK_UNKNOWN');
    expect(
      scheduler.events.slice(before).filter((one) => one.type === 'HEARTBEAT'),
    ).to.have.lengthOf.below(2);
    expect(scheduler.endedProperly).to.equal(undefined);
    scheduler.close();
  });

  it('streams dropped, an ordinary call is refused with 403', async () => {
    const standIn = await startStandIn();
    const scheduler = new RawScheduler(standIn.masterUrl);
    await scheduler.subscribe();
    await scheduler.nextOffer();
    standIn.dropStreams();
    await waitFor('the end', () => (scheduler.endedProperly === false ? true : undefined));
    expect((await scheduler.call({ type: 'REVIVE' })).status).to.equal(403);
  });

  it('lint: what a real master passes over, refused with a reason', async () => {
    const standIn = await startStandIn([agentSpec('agent1')], { lint: true });
    const scheduler = new RawScheduler(standIn.masterUrl);
    await scheduler.subscribe({ ...FRAMEWORK, failover_timeout: 0 });
    const error = await scheduler.next('an error', (one) => one.error !== undefined);
    expect(error.error?.message).to.include('failover_timeout');
    const second = new RawScheduler(standIn.masterUrl);
    await second.subscribe();
    const offer = await second.nextOffer();
    const headers = { ...JSON_HEADERS, 'Mesos-Stream-Id': second.streamId };
    const call = {
      framework_id: { value: second.frameworkId },
      type: 'DECLINE',
      decline: { offer_ids: [offer.id], filtres: { refuse_seconds: 1 } },
    };
    const answer = await post(second.url, headers, JSON.stringify(call));
    expect(answer.status).to.equal(400);
    expect(answer.body).to.equal('Lint: Mesos would ignore: decline.filtres');
    const made = await second.call({
      type: 'DECLINE',
      decline: { offer_ids: [{ value: 'no-such' }] },
    });
    expect(made.body).to.include('unknown offer "no-such"');
    second.close();
  });

  it('Basic authentication, 401 with the realm, the principal must match', async () => {
    const standIn = await startStandIn([], { credentials: { cistern: 'secret' } });
    const url = `${standIn.masterUrl}/api/v1/scheduler`;
    const basic = (text: string) => ({
      ...JSON_HEADERS,
      Authorization: `Basic ${Buffer.from(text).toString('base64')}`,
    });
    const body = (principal: string) =>
      JSON.stringify({
        type: 'SUBSCRIBE',
        subscribe: { framework_info: { ...FRAMEWORK, principal } },
      });
    for (const headers of [JSON_HEADERS, basic('cistern:wrong'), basic('nobody:secret')]) {
      const answer = await post(url, headers, body('cistern'));
      expect(answer.status).to.equal(401);
      expect(answer.headers['www-authenticate']).to.equal('Basic realm="mesos-master-scheduler"');
    }
    expect((await post(url, basic('cistern:secret'), body('other'))).status).to.equal(400);
  });

  it('a master that does not lead, 307 with a protocol-relative location', async () => {
    const standIn = await startStandIn([]);
    const other = await standIn.addRedirectingMaster();
    const answer = await post(`${other}/api/v1/scheduler?a=1`, JSON_HEADERS, '{}');
    expect(answer.status).to.equal(307);
    const leader = standIn.masterUrl.replace('http:', '');
    expect(answer.headers.location).to.equal(`${leader}/master/api/v1/scheduler?a=1`);
    expect((await post(`${other}/health`, {}, '', 'GET')).status).to.equal(200);
    await standIn.stopMaster();
    const status = async () => (await post(`${other}/api/v1/scheduler`, JSON_HEADERS, '{}')).status;
    expect(await status(), 'a dead leader is named while its session lasts').to.equal(307);
    while ((await status()) === 307) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await status()).to.equal(503);
  });

  it('failover_timeout over, the framework is removed and its executors die', async () => {
    const standIn = await startStandIn();
    const scheduler = new RawScheduler(standIn.masterUrl);
    await scheduler.subscribe({ ...FRAMEWORK, failover_timeout: 3 });
    const offer = await scheduler.nextOffer();
    const operations = [launch(task(offer, 'task-1', executor('node-1')))];
    await scheduler.call({ type: 'ACCEPT', accept: { offer_ids: [offer.id], operations } });
    await scheduler.nextUpdate('task-1', 'TASK_RUNNING');
    scheduler.close();
    await waitFor('removal', () => (standIn.state().frameworks.length === 0 ? true : undefined));
    await waitFor('the executors’ end', () =>
      standIn.state().agents.every((one) => one.executorPids.length === 0) ? true : undefined,
    );
    const again = new RawScheduler(standIn.masterUrl);
    await again.subscribe({ ...FRAMEWORK, id: { value: scheduler.frameworkId } });
    const event = await again.next('an error', (one) => one.error !== undefined);
    expect(event.error?.message).to.equal('Framework has been removed');
    await waitFor('the end', () => again.endedProperly);
  });

  it('control: agents added, stopped, misbehaviour set, over HTTP', async () => {
    const standIn = await startStandIn([]);
    const control = (path: string, body: unknown) =>
      post(`${standIn.masterUrl}/stand-in/${path}`, {}, JSON.stringify(body));
    expect((await control('agents', agentSpec('agent1'))).status).to.equal(200);
    expect((await control('agents', agentSpec('agent1'))).status).to.equal(409);
    expect((await control('agents/agent1/stop', {})).status).to.equal(200);
    expect((await control('agents/nobody/stop', {})).status).to.equal(404);
    expect((await control('misbehave', { chunking: 'bytes' })).status).to.equal(200);
    const answer = await post(`${standIn.masterUrl}/stand-in/state`, {}, '', 'GET');
    const state = JSON.parse(answer.body) as ReturnType<typeof standIn.state>;
    expect(state.agents[0]?.isRunning).to.equal(false);
    expect(state.misbehaviour.chunking).to.equal('bytes');
  });

  it('operator: reserves and frees resources of an agent', async () => {
    const standIn = await startStandIn();
    const scheduler = new RawScheduler(standIn.masterUrl);
    await scheduler.subscribe();
    const offer = await scheduler.nextOffer();
    const resources = reserve(undefined, scalar('cpus', 1)).reserve?.resources;
    const call = (type: string, field: string) =>
      post(
        `${standIn.masterUrl}/api/v1`,
        JSON_HEADERS,
        JSON.stringify({ type, [field]: { agent_id: offer.agent_id, resources } }),
      );
    expect((await call('RESERVE_RESOURCES', 'reserve_resources')).status).to.equal(202);
    await scheduler.next('a rescind', (one) => one.rescind !== undefined);
    const next = await scheduler.nextOffer();
    expect(next.resources?.some((one) => one.reservations !== undefined)).to.equal(true);
    expect((await call('UNRESERVE_RESOURCES', 'unreserve_resources')).status).to.equal(202);
    expect((await call('UNRESERVE_RESOURCES', 'unreserve_resources')).status).to.equal(409);
    scheduler.close();
  });
});

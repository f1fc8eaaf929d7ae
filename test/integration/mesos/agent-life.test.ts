import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { MesosStandIn } from '../../../dev/mesos/cluster.ts';
import type { Offer } from '../../../shared/mesos/messages.ts';
import { create, disk, executor, launch, reserve, task, volume } from './operations.ts';
import { type Answer, FRAMEWORK, post, RawScheduler, waitFor } from './raw-scheduler.ts';
import { agentSpec, closeStandIns, startStandIn } from './stand-in-fixture.ts';

/** Subscribes and has one task with a volume running on the first agent. */
async function startTask(
  standIn: MesosStandIn,
): Promise<{ readonly scheduler: RawScheduler; readonly offer: Offer; readonly root: string }> {
  const scheduler = new RawScheduler(standIn.masterUrl);
  await scheduler.subscribe();
  const offer = await scheduler.nextOffer('agent1');
  const mount = disk(offer, 'MOUNT', 250);
  const made = volume(mount, 'mv-1', 'm1');
  await scheduler.call({
    type: 'ACCEPT',
    accept: {
      offer_ids: [offer.id],
      operations: [
        reserve('op-reserve', mount),
        create('op-create', made),
        launch(task(offer, 'task-1', executor('node-1'), made)),
      ],
      filters: { refuse_seconds: 0 },
    },
  });
  await scheduler.nextUpdate('task-1', 'TASK_RUNNING');
  return { scheduler, offer, root: mount.disk?.source?.mount?.root ?? '' };
}

async function operate(standIn: MesosStandIn, call: object): Promise<Answer> {
  const headers = { 'Content-Type': 'application/json', Accept: 'application/json' };
  const answer = await post(`${standIn.masterUrl}/api/v1`, headers, JSON.stringify(call));
  expect(answer.status, answer.body).to.equal(200);
  return answer;
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

function pidsOf(standIn: MesosStandIn): readonly number[] {
  return standIn.state().agents.flatMap((agent) => agent.executorPids);
}

describe('stand-in: life of agents', function () {
  this.timeout(60_000);
  afterEach(closeStandIns);

  it('agent process restarted, the executor lives on and subscribes again (404, 503, 200)', async () => {
    const standIn = await startStandIn();
    const { scheduler } = await startTask(standIn);
    const [pid] = pidsOf(standIn);
    await scheduler.nextOffer(); // of what is left: it will be rescinded
    await standIn.stopAgent('agent1');
    await scheduler.next('a rescind', (one) => one.rescind !== undefined);
    expect(isAlive(pid ?? 0)).to.equal(true);
    await standIn.startAgent('agent1');
    await waitFor('registration', () => standIn.state().agents.find((one) => one.isRegistered));

    expect(pidsOf(standIn)).to.deep.equal([pid]);
    await scheduler.call({ type: 'RECONCILE', reconcile: { tasks: [] } });
    const status = await scheduler.nextUpdate('task-1', 'TASK_RUNNING');
    expect(status.reason).to.equal('REASON_RECONCILIATION');
    await scheduler.call({ type: 'KILL', kill: { task_id: { value: 'task-1' } } });
    await scheduler.nextUpdate('task-1', 'TASK_KILLED');
    scheduler.close();
  });

  it('agent back while its executor is stopped, TASK_GONE after the window', async () => {
    const standIn = await startStandIn();
    const { scheduler } = await startTask(standIn);
    const [pid] = pidsOf(standIn);
    // The shell and the executor below it: the whole group stands still.
    process.kill(-(pid ?? 0), 'SIGSTOP');
    await standIn.stopAgent('agent1');
    await standIn.startAgent('agent1');
    const gone = await scheduler.nextUpdate('task-1', 'TASK_GONE');
    expect(gone.reason).to.equal('REASON_EXECUTOR_REREGISTRATION_TIMEOUT');
    expect(gone.message).to.equal('Executor did not reregister within 2secs');
    await waitFor('death', () => (isAlive(pid ?? 0) ? undefined : true));
    scheduler.close();
  });

  it('power-off, silence, then unreachable; power-on, the task failed, the data is there', async () => {
    const standIn = await startStandIn([agentSpec('agent1')], { timeScale: 50 });
    const { scheduler, root } = await startTask(standIn);
    writeFileSync(join(root, 'data'), 'precious');
    const [pid] = pidsOf(standIn);
    await standIn.killAgent('agent1');
    await waitFor('death', () => (isAlive(pid ?? 0) ? undefined : true));
    const lost = await scheduler.nextUpdate('task-1', 'TASK_UNREACHABLE');
    expect(lost.reason).to.equal('REASON_AGENT_REMOVED');
    expect(lost.unreachable_time).to.not.equal(undefined);
    await scheduler.next('a failure', (one) => one.failure?.executor_id === undefined);

    await standIn.startAgent('agent1');
    await scheduler.nextUpdate('task-1', 'TASK_FAILED');
    const offer = await waitFor('the volume', () =>
      scheduler.events
        .flatMap((one) => one.offers?.offers ?? [])
        .find((one) => one.resources?.some((item) => item.disk?.persistence?.id === 'mv-1')),
    );
    expect(offer.resources?.some((one) => one.disk?.persistence?.id === 'mv-1')).to.equal(true);
    expect(readdirSync(root)).to.deep.equal(['data']);
    scheduler.close();
  });

  it('unreachable agent whose executor lived on, TASK_RUNNING without uuid', async () => {
    const standIn = await startStandIn([agentSpec('agent1')], { timeScale: 100 });
    const { scheduler } = await startTask(standIn);
    await standIn.stopAgent('agent1');
    await scheduler.nextUpdate('task-1', 'TASK_UNREACHABLE');
    await standIn.startAgent('agent1');
    const back = await scheduler.nextUpdate('task-1', 'TASK_RUNNING');
    expect(back.reason).to.equal('REASON_AGENT_REREGISTERED');
    expect(back.uuid).to.equal(undefined);
    scheduler.close();
  });

  it('work directory wiped, TASK_LOST, a new agent id, no reservations', async () => {
    const standIn = await startStandIn();
    const { scheduler, offer } = await startTask(standIn);
    await standIn.killAgent('agent1');
    standIn.wipeAgent('agent1');
    await standIn.startAgent('agent1');
    const lost = await scheduler.nextUpdate('task-1', 'TASK_LOST');
    expect(lost.message).to.equal(
      'Agent agent1 removed: a new agent registered at the same address',
    );
    const again = await waitFor('an offer of the new agent', () =>
      scheduler.events
        .flatMap((one) => one.offers?.offers ?? [])
        .find((one) => one.agent_id.value !== offer.agent_id.value),
    );
    expect(again.resources?.every((one) => one.reservations === undefined)).to.equal(true);
    scheduler.close();
  });

  it('agent retired, TASK_LOST, and back as a new agent with its volume', async () => {
    const standIn = await startStandIn();
    const { scheduler, offer } = await startTask(standIn);
    await standIn.retireAgent('agent1');
    const lost = await scheduler.nextUpdate('task-1', 'TASK_LOST');
    expect(lost.message).to.equal('Agent agent1 removed: the agent unregistered');
    await standIn.startAgent('agent1');
    const again = await waitFor('an offer of the new agent', () =>
      scheduler.events
        .flatMap((one) => one.offers?.offers ?? [])
        .find((one) => one.agent_id.value !== offer.agent_id.value),
    );
    expect(again.resources?.some((one) => one.disk?.persistence?.id === 'mv-1')).to.equal(true);
    scheduler.close();
  });

  it('machine down and up again, no task is left of the old agent, and the new one drains', async () => {
    const standIn = await startStandIn();
    const { scheduler, offer } = await startTask(standIn);
    const machines = [{ hostname: 'agent1' }];
    const windows = [{ machine_ids: machines, unavailability: { start: { nanoseconds: 1 } } }];
    await operate(standIn, {
      type: 'UPDATE_MAINTENANCE_SCHEDULE',
      update_maintenance_schedule: { schedule: { windows } },
    });
    await operate(standIn, { type: 'START_MAINTENANCE', start_maintenance: { machines } });
    const lost = await scheduler.nextUpdate('task-1', 'TASK_LOST');
    expect(lost.message).to.equal("Agent agent1 removed: Operator initiated 'Machine DOWN'");
    await waitFor('the executor to end', () => (pidsOf(standIn).length === 0 ? true : undefined));
    await operate(standIn, { type: 'STOP_MAINTENANCE', stop_maintenance: { machines } });
    const again = await waitFor('the volume on a new agent', () =>
      scheduler.events
        .flatMap((one) => one.offers?.offers ?? [])
        .filter((one) => one.agent_id.value !== offer.agent_id.value)
        .find((one) => one.resources?.some((item) => item.disk?.persistence?.id === 'mv-1')),
    );
    expect(standIn.state().tasks).to.deep.equal([]);

    await operate(standIn, { type: 'DRAIN_AGENT', drain_agent: { agent_id: again.agent_id } });
    const { body } = await operate(standIn, { type: 'GET_AGENTS' });
    expect(body).to.include('"state":"DRAINED"');
    scheduler.close();
  });

  it('master restarted, subscription refused, then recovered agents and the running task', async () => {
    const standIn = await startStandIn();
    const { scheduler } = await startTask(standIn);
    const before = standIn.state().masterId;
    await standIn.restartMaster();
    await waitFor('the end of the stream', () =>
      scheduler.endedProperly === false ? true : undefined,
    );
    const again = new RawScheduler(standIn.masterUrl);
    const info = { ...FRAMEWORK, id: { value: scheduler.frameworkId } };
    const seen: number[] = [];
    for (;;) {
      const status = await again.subscribe(info);
      seen.push(status);
      if (status === 200) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(seen[0]).to.equal(404);
    await again.next('SUBSCRIBED', (one) => one.subscribed !== undefined);
    expect(again.frameworkId).to.equal(scheduler.frameworkId);
    expect(standIn.state().masterId).to.not.equal(before);
    await waitFor('the agent', () => standIn.state().agents.find((one) => one.isRegistered));
    await again.call({ type: 'RECONCILE', reconcile: { tasks: [] } });
    await again.nextUpdate('task-1', 'TASK_RUNNING');
    again.close();
  });

  it('the whole stand-in ended and started again, executors kept and found', async () => {
    const first = await startStandIn();
    const { scheduler } = await startTask(first);
    const pids = pidsOf(first);
    const directory = join(first.state().agents[0]?.directory ?? '', '..', '..');
    await first.close({ keepExecutors: true });
    scheduler.close();
    expect(pids.every(isAlive)).to.equal(true);

    const second = await startStandIn([], { directory });
    expect(second.masterUrl).to.not.equal('');
    await waitFor('the agent', () => second.state().agents.find((one) => one.isRegistered));
    expect(pidsOf(second)).to.deep.equal(pids);
    const again = new RawScheduler(second.masterUrl);
    await again.subscribe({ ...FRAMEWORK, id: { value: scheduler.frameworkId } });
    const offer = await again.nextOffer();
    expect(offer.executor_ids).to.deep.equal([{ value: 'node-1' }]);
    await again.call({ type: 'TEARDOWN' });
    await waitFor('death of the executor', () => (pids.some(isAlive) ? undefined : true));
    again.close();
  });

  it('closed while an agent is stopped, its executor dies as well', async () => {
    const standIn = await startStandIn();
    const { scheduler } = await startTask(standIn);
    const pids = pidsOf(standIn);
    await standIn.stopAgent('agent1');
    expect(pids.every(isAlive)).to.equal(true);
    await standIn.close();
    await waitFor('death', () => (pids.some(isAlive) ? undefined : true));
    scheduler.close();
  });

  it('an operation lost on its way to the agent, undone when the agent registers again', async () => {
    const standIn = await startStandIn();
    const scheduler = new RawScheduler(standIn.masterUrl);
    await scheduler.subscribe();
    const offer = await scheduler.nextOffer();
    standIn.misbehave({ loseOperations: true });
    const mount = disk(offer, 'MOUNT', 250);
    const operations = [reserve('op-lost', mount)];
    const filters = { refuse_seconds: 0 };
    await scheduler.call({
      type: 'ACCEPT',
      accept: { offer_ids: [offer.id], operations, filters },
    });
    const reserved = await scheduler.nextOffer();
    expect(reserved.resources?.some((one) => one.reservations !== undefined)).to.equal(true);
    standIn.misbehave({ loseOperations: false });
    await standIn.stopAgent('agent1');
    await standIn.startAgent('agent1');
    expect(await scheduler.nextOperation('op-lost')).to.equal('OPERATION_DROPPED');
    const free = await scheduler.nextOffer();
    expect(free.resources?.some((one) => one.reservations !== undefined)).to.equal(false);
    scheduler.close();
  });
});

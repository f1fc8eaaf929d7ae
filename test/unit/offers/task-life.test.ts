import { expect } from 'chai';
import type { StatusReason, TaskState, TaskStatus } from '../../../shared/mesos/messages.ts';
import { ModelAgent, usualResources } from './agent-model.ts';
import { operationTypes, Scenario, typesOf } from './scenario.ts';

const agent = (name = 'a'): ModelAgent => new ModelAgent(name, usualResources());

/** One agent, one disk, its task running and its store open. */
function running(): { scenario: Scenario; a: ModelAgent; taskId: string } {
  const a = agent();
  const scenario = new Scenario([a]).ready().bringUp();
  scenario.state.facts.disks.update(scenario.disk().id, { phase: 'serving' });
  scenario.look();
  return { scenario, a, taskId: scenario.taskId() };
}

describe('tasks: what each state does', () => {
  interface Row {
    readonly state: TaskState;
    readonly source?: TaskStatus['source'];
    readonly reason?: StatusReason;
    readonly phase: string;
    readonly life: string;
    readonly executor: string;
  }
  const rows: readonly Row[] = [
    { state: 'TASK_STARTING', phase: 'serving', life: 'starting', executor: 'running' },
    { state: 'TASK_RUNNING', phase: 'serving', life: 'alive', executor: 'running' },
    { state: 'TASK_KILLING', phase: 'serving', life: 'stopping', executor: 'running' },
    { state: 'TASK_FINISHED', phase: 'down', life: 'dead', executor: 'running' },
    { state: 'TASK_KILLED', phase: 'down', life: 'dead', executor: 'running' },
    { state: 'TASK_FAILED', phase: 'down', life: 'dead', executor: 'running' },
    {
      state: 'TASK_FAILED',
      source: 'SOURCE_AGENT',
      reason: 'REASON_EXECUTOR_TERMINATED',
      phase: 'down',
      life: 'dead',
      executor: 'dead',
    },
    {
      state: 'TASK_FAILED',
      source: 'SOURCE_AGENT',
      reason: 'REASON_CONTAINER_LIMITATION_MEMORY',
      phase: 'down',
      life: 'dead',
      executor: 'dead',
    },
    {
      state: 'TASK_GONE',
      source: 'SOURCE_AGENT',
      reason: 'REASON_EXECUTOR_REREGISTRATION_TIMEOUT',
      phase: 'down',
      life: 'dead',
      executor: 'dead',
    },
    {
      state: 'TASK_GONE',
      source: 'SOURCE_MASTER',
      reason: 'REASON_RECONCILIATION',
      phase: 'down',
      life: 'dead',
      executor: 'running',
    },
    {
      state: 'TASK_LOST',
      source: 'SOURCE_MASTER',
      reason: 'REASON_AGENT_REMOVED',
      phase: 'serving',
      life: 'away',
      executor: 'unknown',
    },
    {
      state: 'TASK_UNREACHABLE',
      source: 'SOURCE_MASTER',
      reason: 'REASON_AGENT_REMOVED',
      phase: 'serving',
      life: 'away',
      executor: 'unknown',
    },
    {
      state: 'TASK_UNKNOWN',
      source: 'SOURCE_MASTER',
      reason: 'REASON_RECONCILIATION',
      phase: 'serving',
      life: 'away',
      executor: 'unknown',
    },
    {
      state: 'TASK_GONE_BY_OPERATOR',
      source: 'SOURCE_MASTER',
      reason: 'REASON_AGENT_REMOVED_BY_OPERATOR',
      phase: 'lost',
      life: 'dead',
      executor: 'running',
    },
  ];
  for (const row of rows) {
    it(`${row.state} ${row.reason ?? ''}: disk ${row.phase}, task ${row.life}, executor ${row.executor}`, () => {
      const { scenario, taskId } = running();
      const isMaster = row.source === 'SOURCE_MASTER';
      const calls = scenario.update(taskId, row.state, {
        source: row.source ?? 'SOURCE_EXECUTOR',
        reason: row.reason,
        ...(isMaster ? { uuid: undefined } : {}),
      });
      expect(typesOf(calls)).to.deep.equal(isMaster ? [] : ['ACKNOWLEDGE']);
      expect(scenario.disk().phase).to.equal(row.phase);
      expect(scenario.state.mesos.tasks.get(scenario.disk().id)?.life).to.equal(row.life);
      expect(scenario.executorLife()).to.equal(row.executor);
      const isGone = row.state === 'TASK_GONE_BY_OPERATOR';
      expect(scenario.node().admin).to.equal(isGone ? 'gone' : 'active');
    });
  }

  it('TASK_ERROR with the id of the running task: it goes on', () => {
    const { scenario, taskId } = running();
    scenario.masterUpdate(taskId, 'TASK_ERROR', {
      reason: 'REASON_TASK_INVALID',
      message: 'Task has duplicate ID',
    });
    expect(scenario.disk().phase).to.equal('serving');
  });

  it('FAILURE of the executor, then a terminal update of the agent: executor dead', () => {
    const { scenario, a, taskId } = running();
    const executor_id = { value: scenario.node().executorId };
    scenario.event({
      type: 'FAILURE',
      failure: { agent_id: { value: a.agentId }, executor_id, status: 9 },
    });
    expect(scenario.executorLife(), 'FAILURE alone decides nothing').to.equal('running');
    scenario.update(taskId, 'TASK_FAILED', { source: 'SOURCE_AGENT' });
    expect(scenario.executorLife()).to.equal('dead');
  });

  it('FAILURE without any update after it: the task is asked about', () => {
    const { scenario, a, taskId } = running();
    scenario.event({
      type: 'FAILURE',
      failure: { agent_id: { value: a.agentId }, executor_id: { value: 'cistern-n1-0.1.0' } },
    });
    const calls = scenario.tick(1500);
    expect(calls.find(({ type }) => type === 'RECONCILE')?.reconcile?.tasks).to.deep.equal([
      { task_id: { value: taskId }, agent_id: { value: a.agentId } },
    ]);
  });

  it('late update of an executor that was started anew since: the new one is not dead', () => {
    const a = agent();
    const scenario = new Scenario([a], { claimPerNode: 2 }).ready().bringUp();
    const [first, second] = [scenario.taskId(0), scenario.taskId(1)];
    const died = {
      source: 'SOURCE_AGENT' as const,
      reason: 'REASON_EXECUTOR_TERMINATED' as const,
    };
    a.endExecutor(scenario.node().executorId);
    scenario.update(first, 'TASK_FAILED', died);
    expect(scenario.executorLife()).to.equal('dead');
    scenario.tick(2000);
    scenario.offer();
    scenario.update(scenario.taskId(0), 'TASK_RUNNING');
    expect(scenario.executorLife()).to.equal('running');
    scenario.update(second, 'TASK_FAILED', died);
    expect(scenario.executorLife()).to.equal('running');
    expect(scenario.disk(1).phase).to.equal('down');
  });

  it('the same word to a later manager: the new executor is not dead', () => {
    const a = agent();
    const scenario = new Scenario([a], { claimPerNode: 2 }).ready().bringUp();
    const [first, second] = [scenario.taskId(0), scenario.taskId(1)];
    const died = {
      source: 'SOURCE_AGENT' as const,
      reason: 'REASON_EXECUTOR_TERMINATED' as const,
    };
    a.endExecutor(scenario.node().executorId);
    scenario.update(first, 'TASK_FAILED', died);
    scenario.tick(2000);
    scenario.offer();
    const renewed = scenario.taskId(0);
    scenario.restart();
    scenario.ready();
    scenario.masterUpdate(renewed, 'TASK_RUNNING', { reason: 'REASON_RECONCILIATION' });
    scenario.update(second, 'TASK_FAILED', died);
    expect(scenario.executorLife()).to.equal('running');
    expect(scenario.disk(1).phase).to.equal('down');
    scenario.update(renewed, 'TASK_FAILED', died);
    expect(scenario.executorLife(), 'its own end counts').to.equal('dead');
  });
});

describe('tasks: acknowledgements', () => {
  it('the same update again: acknowledged again, nothing else', () => {
    const { scenario, taskId } = running();
    const uuid = Buffer.alloc(16, 0xaa);
    scenario.update(taskId, 'TASK_FAILED', { uuid });
    scenario.state.facts.disks.update(scenario.disk().id, { error: 'seen' });
    const calls = scenario.update(taskId, 'TASK_FAILED', { uuid });
    expect(calls[0]?.acknowledge?.uuid).to.deep.equal(uuid);
    expect(calls).to.have.length(1);
    expect(scenario.disk().error).to.equal('seen');
  });

  it('unknown task: acknowledged; when it runs the operator is told, and it is not killed', () => {
    const { scenario } = running();
    const calls = scenario.update('cistern-1f2e3d4c-d77-1', 'TASK_RUNNING');
    expect(typesOf(calls)).to.deep.equal(['ACKNOWLEDGE']);
    expect(scenario.eventKinds()).to.include('mesos.unknown-task');
  });

  it('a running attempt that was replaced: killed and acknowledged', () => {
    const { scenario, taskId } = running();
    scenario.state.facts.disks.update(scenario.disk().id, { taskId: 'cistern-1f2e3d4c-d1-9' });
    expect(typesOf(scenario.update(taskId, 'TASK_RUNNING'))).to.deep.equal(['KILL', 'ACKNOWLEDGE']);
  });

  it('the fact changes in the step whose effect is the acknowledgement', () => {
    const { scenario, taskId } = running();
    scenario.update(taskId, 'TASK_FAILED');
    // The scenario commits before it takes effects; a manager that starts now knows of the end.
    scenario.restart();
    expect(scenario.disk().phase).to.equal('down');
  });
});

describe('tasks: relaunch', () => {
  it('a failed task: launched on its own volume with a new task id, waits grow', () => {
    const { scenario, a, taskId } = running();
    const volumes = JSON.stringify(a.tasks.get(taskId)?.resources);
    const waits: number[] = [];
    for (let round = 0; round < 4; round += 1) {
      a.endTask(scenario.taskId());
      scenario.update(scenario.taskId(), 'TASK_FAILED', { message: 'store is broken' });
      const before = scenario.nowMs;
      while (!typesOf(scenario.offer()).includes('ACCEPT')) scenario.tick(500);
      waits.push(scenario.nowMs - before);
      expect(JSON.stringify(a.tasks.get(scenario.taskId())?.resources)).to.equal(volumes);
      scenario.update(scenario.taskId(), 'TASK_RUNNING');
    }
    expect(waits).to.deep.equal([1000, 2000, 4000, 8000]);
    expect(scenario.disk().taskAttempt).to.equal(5);
  });

  it('a task that had run well: its next failure waits only a moment', () => {
    const { scenario, a } = running();
    const waits: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      scenario.nowMs += 130_000;
      a.endTask(scenario.taskId());
      scenario.update(scenario.taskId(), 'TASK_FAILED');
      const before = scenario.nowMs;
      while (!typesOf(scenario.offer()).includes('ACCEPT')) scenario.tick(500);
      waits.push(scenario.nowMs - before);
      scenario.update(scenario.taskId(), 'TASK_RUNNING');
    }
    expect(waits).to.deep.equal([1000, 1000, 1000]);
  });

  it('the executor died with two tasks: one failure, both come back with one executor', () => {
    const a = agent();
    const scenario = new Scenario([a], { claimPerNode: 2 }).ready().bringUp();
    for (const taskId of a.endExecutor(scenario.node().executorId)) {
      scenario.update(taskId, 'TASK_FAILED', {
        source: 'SOURCE_AGENT',
        reason: 'REASON_EXECUTOR_TERMINATED',
      });
    }
    scenario.tick(1000);
    const [accept] = scenario.offer();
    expect(operationTypes(accept)).to.deep.equal(['LAUNCH']);
    expect(accept?.accept?.operations?.[0]?.launch?.task_infos).to.have.length(2);
    expect(scenario.state.mesos.hosts.get(scenario.node().id)?.failures).to.equal(1);
  });

  it('another scheduler at another address: the ExecutorInfo of a running executor stays equal', () => {
    const scenario = new Scenario([new ModelAgent('a', usualResources())], { claimPerNode: 1 });
    scenario.ready().bringUp();
    scenario.restart({ controlAddress: '10.0.0.2:7400', webuiUrl: 'http://10.0.0.2/' });
    scenario.subscribe();
    scenario.masterUpdate(scenario.taskId(), 'TASK_RUNNING');
    scenario.state.facts.pools.update('default', { claimPerNode: 2 });
    scenario.tick(1000);
    // The rules compare with the first launch, and find the addresses of schedulers.
    scenario.offer();
    expect(scenario.disks()).to.have.length(2);
  });

  it('refused by Mesos: a long wait, and an error for the operator', () => {
    const { scenario, a } = running();
    a.endTask(scenario.taskId());
    scenario.update(scenario.taskId(), 'TASK_FAILED');
    scenario.tick(1000);
    scenario.offer();
    const refused = scenario.taskId();
    a.endTask(refused);
    scenario.masterUpdate(refused, 'TASK_ERROR', { reason: 'REASON_TASK_UNAUTHORIZED' });
    scenario.tick(30_000);
    expect(typesOf(scenario.offer())).to.deep.equal(['DECLINE']);
    expect(scenario.eventKinds()).to.include('disk.launch-refused');
  });

  it('unreachable: not launched again, not destroyed; when it returns it goes on', () => {
    const { scenario, taskId } = running();
    scenario.masterUpdate(taskId, 'TASK_UNREACHABLE');
    const later = scenario.pass(120);
    expect(typesOf(later).filter((type) => type === 'ACCEPT' || type === 'KILL')).to.eql([]);
    scenario.masterUpdate(taskId, 'TASK_RUNNING', { reason: 'REASON_AGENT_REREGISTERED' });
    expect(scenario.taskId()).to.equal(taskId);
    expect(scenario.executorLife()).to.equal('running');
  });

  it('its volume is offered while it counts as running: asked, not launched blindly', () => {
    const { scenario, a, taskId } = running();
    a.endTask(taskId);
    scenario.nowMs += 6000;
    const [decline] = scenario.offer();
    expect(decline?.decline?.filters?.refuse_seconds).to.equal(5);
    expect(typesOf(scenario.tick())).to.include('RECONCILE');
    scenario.masterUpdate(taskId, 'TASK_GONE', { reason: 'REASON_RECONCILIATION' });
    scenario.tick(1000);
    expect(typesOf(scenario.offer())).to.deep.equal(['ACCEPT']);
  });

  it('agent drained by an operator: an outage, no failure; back when it offers again', () => {
    const { scenario, a, taskId } = running();
    a.endTask(taskId);
    scenario.update(taskId, 'TASK_KILLED', { reason: 'REASON_AGENT_DRAINING' });
    expect(scenario.node().outageSinceMs).to.equal(scenario.now.wallMs);
    expect(scenario.state.mesos.hosts.get(scenario.node().id)?.failures ?? 0).to.equal(0);
    scenario.tick(60_000);
    expect(typesOf(scenario.offer())).to.deep.equal(['ACCEPT']);
    expect(scenario.node().outageSinceMs).to.equal(null);
  });

  it('a node that goes into maintenance now: not launched there', () => {
    const { scenario, a, taskId } = running();
    a.endTask(taskId);
    scenario.update(taskId, 'TASK_FAILED');
    a.unavailability = { start: { nanoseconds: (scenario.now.wallMs + 60_000) * 1_000_000 } };
    scenario.tick(2000);
    expect(typesOf(scenario.offer())).to.deep.equal(['DECLINE']);
  });

  describe('a scheduler that brings another version of the executor', () => {
    /** The executor crashed under the new scheduler; what is started next. */
    function crash(uris: readonly { readonly value: string; readonly sha256: string }[] = []) {
      const { scenario, a } = running();
      const { options } = scenario.state;
      const old = { ...options.executor, uris };
      scenario.state.facts.nodes.update(scenario.node().id, { artefact: old });
      Object.assign(options, { executor: { ...options.executor, version: '0.2.0', cpus: 1 } });
      return { scenario, a, old };
    }

    function end({ scenario, a }: ReturnType<typeof crash>): string[] {
      for (const taskId of a.endExecutor('cistern-n1-0.1.0')) {
        scenario.update(taskId, 'TASK_FAILED', {
          source: 'SOURCE_AGENT',
          reason: 'REASON_EXECUTOR_TERMINATED',
        });
      }
      scenario.tick(10_000);
      scenario.offer();
      return [...a.executors.keys()];
    }

    it('a task ends: it is started again on the running executor, whose info stays equal', () => {
      const world = crash();
      const { scenario, a } = world;
      const info = a.tasks.get(scenario.taskId())?.executor;
      a.endTask(scenario.taskId());
      scenario.update(scenario.taskId(), 'TASK_FAILED');
      scenario.tick(1000);
      scenario.offer();
      expect([...a.executors.keys()]).to.eql(['cistern-n1-0.1.0']);
      expect(a.tasks.get(scenario.taskId())?.executor).to.deep.equal(info);
    });

    it('the executor crashes, no upgrade was started: the same version again', () => {
      const world = crash();
      expect(end(world)).to.eql(['cistern-n1-0.1.0']);
    });

    it('nobody serves the files of the old version any more: the new one, rather than none', () => {
      const world = crash([{ value: 'http://gone/executor.tar.gz', sha256: 'a'.repeat(64) }]);
      expect(end(world)).to.eql(['cistern-n1-0.2.0']);
      expect(world.scenario.node().executorId).to.equal('cistern-n1-0.2.0');
    });

    it('its turn in an upgrade: the new version, and its end is no failure', () => {
      const world = crash();
      const { scenario, old } = world;
      const { id } = scenario.node();
      scenario.state.facts.updateCluster({
        upgrade: {
          from: old,
          to: scenario.state.options.executor,
          direction: 'forward',
          phase: 'running',
          reason: '',
          startedAtMs: 0,
          current: { node: id, sinceMs: 0 },
        },
      });
      expect(end(world)).to.eql(['cistern-n1-0.2.0']);
      expect(scenario.state.mesos.hosts.get(id)?.failures).to.equal(0);
      expect(scenario.node().artefact?.cpus).to.equal(1);
    });
  });
});

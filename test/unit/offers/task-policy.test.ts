/** What becomes of a disk with each state of its task, row by row; and that none of them ever destroys anything. */
import { expect } from 'chai';
import type { DiskPhase } from '../../../scheduler/core/records.ts';
import { Prng } from '../../../shared/base/prng.ts';
import type { StatusReason, TaskState, TaskStatus } from '../../../shared/mesos/messages.ts';
import type { OfferOperation, SchedulerCall } from '../../../shared/mesos/scheduler-messages.ts';
import { ModelAgent, usualResources } from './agent-model.ts';
import { Scenario } from './scenario.ts';

interface Row {
  readonly state: TaskState;
  readonly more?: Partial<TaskStatus>;
  readonly life: string;
  readonly phase: DiskPhase;
  /** Whether its volume, offered again a moment later, gets another task. */
  readonly isRelaunched: boolean;
}

const MASTER = { source: 'SOURCE_MASTER', uuid: undefined } as const;

const ROWS: readonly Row[] = [
  { state: 'TASK_STAGING', more: MASTER, life: 'starting', phase: 'launched', isRelaunched: false },
  { state: 'TASK_STARTING', life: 'starting', phase: 'launched', isRelaunched: false },
  { state: 'TASK_RUNNING', life: 'alive', phase: 'launched', isRelaunched: false },
  { state: 'TASK_KILLING', life: 'stopping', phase: 'launched', isRelaunched: false },
  { state: 'TASK_FINISHED', life: 'dead', phase: 'down', isRelaunched: true },
  { state: 'TASK_KILLED', life: 'dead', phase: 'down', isRelaunched: true },
  { state: 'TASK_FAILED', life: 'dead', phase: 'down', isRelaunched: true },
  { state: 'TASK_GONE', more: MASTER, life: 'dead', phase: 'down', isRelaunched: true },
  { state: 'TASK_DROPPED', more: MASTER, life: 'dead', phase: 'down', isRelaunched: true },
  // A second launch under its id was refused: the running one goes on.
  {
    state: 'TASK_ERROR',
    more: { ...MASTER, reason: 'REASON_TASK_INVALID' },
    life: 'alive',
    phase: 'launched',
    isRelaunched: false,
  },
  // Maybe gone, maybe not: Mesos is asked before anything is started there again.
  {
    state: 'TASK_LOST',
    more: { ...MASTER, reason: 'REASON_AGENT_REMOVED' },
    life: 'away',
    phase: 'launched',
    isRelaunched: false,
  },
  { state: 'TASK_UNREACHABLE', more: MASTER, life: 'away', phase: 'launched', isRelaunched: false },
  { state: 'TASK_UNKNOWN', more: MASTER, life: 'away', phase: 'launched', isRelaunched: false },
  {
    state: 'TASK_GONE_BY_OPERATOR',
    more: { ...MASTER, reason: 'REASON_AGENT_REMOVED_BY_OPERATOR' },
    life: 'dead',
    phase: 'lost',
    isRelaunched: false,
  },
];

/** One agent, one disk, its task running; the second disk of the agent stays free. */
function running(): {
  readonly scenario: Scenario;
  readonly a: ModelAgent;
  readonly taskId: string;
} {
  const a = new ModelAgent('a', usualResources());
  const scenario = new Scenario([a]).ready().bringUp();
  return { scenario, a, taskId: scenario.taskId() };
}

function operations(calls: readonly SchedulerCall[]): readonly OfferOperation[] {
  return calls.flatMap(({ accept }) => accept?.operations ?? []);
}

describe('tasks: the policy, row by row', () => {
  it('every state that Mesos knows has a row', () => {
    const known = new Set(ROWS.map(({ state }) => state));
    expect(known.size).to.equal(14);
  });

  for (const { state, more = {}, life, phase, isRelaunched } of ROWS) {
    it(`${state}: task ${life}, disk ${phase}, ${isRelaunched ? 'started again' : 'not started again'}`, () => {
      const { scenario, a, taskId } = running();
      const { persistenceId } = scenario.disk();
      scenario.update(taskId, state, more);
      expect(scenario.state.mesos.tasks.get(scenario.disk().id)?.life).to.equal(life);
      expect(scenario.disk().phase).to.equal(phase);
      expect(scenario.node().admin).to.equal(phase === 'lost' ? 'gone' : 'active');
      // What the master offers then: all of the agent, the volume among it, when no task is there.
      if (isRelaunched || phase === 'lost' || life === 'away') a.endTask(taskId);
      scenario.tick(10_000);
      const done = operations(scenario.offer([a]));
      const launched = done.flatMap(({ launch }) => launch?.task_infos ?? []);
      const onVolume = launched.filter(({ resources }) =>
        resources?.some(({ disk }) => disk?.persistence?.id === persistenceId),
      );
      expect(onVolume.map(({ task_id }) => task_id.value === taskId)).to.eql(
        isRelaunched ? [false] : [],
      );
      expect(done.filter(({ type }) => type === 'DESTROY' || type === 'UNRESERVE')).to.eql([]);
    });
  }

  it('out of sight, but the same agent offers the volume: asked about; gone, says Mesos: started again', () => {
    const { scenario, a, taskId } = running();
    scenario.masterUpdate(taskId, 'TASK_LOST', { reason: 'REASON_AGENT_REMOVED' });
    a.endTask(taskId);
    scenario.tick(10_000);
    expect(operations(scenario.offer([a]))).to.eql([]);
    const asked = scenario.tick(1_000).find(({ type }) => type === 'RECONCILE');
    expect(asked?.reconcile?.tasks?.map(({ task_id }) => task_id.value)).to.eql([taskId]);
    scenario.masterUpdate(taskId, 'TASK_GONE', { reason: 'REASON_RECONCILIATION' });
    scenario.tick(5_000);
    const launched = operations(scenario.offer([a])).flatMap(({ launch }) => launch ?? []);
    expect(launched).to.have.length(1);
  });

  it('TASK_ERROR for a launch of ours: no hot loop, tried again after a minute', () => {
    const a = new ModelAgent('a', usualResources());
    const scenario = new Scenario([a]).ready();
    scenario.offer();
    const taskId = scenario.taskId();
    a.endTask(taskId);
    scenario.masterUpdate(taskId, 'TASK_ERROR', { reason: 'REASON_TASK_UNAUTHORIZED' });
    scenario.tick(30_000);
    expect(operations(scenario.offer()).flatMap(({ launch }) => launch ?? [])).to.eql([]);
    scenario.tick(31_000);
    expect(operations(scenario.offer()).flatMap(({ launch }) => launch ?? [])).to.have.length(1);
  });
});

const REASONS: readonly (StatusReason | undefined)[] = [
  undefined,
  'REASON_AGENT_DRAINING',
  'REASON_AGENT_REMOVED',
  'REASON_AGENT_RESTARTED',
  'REASON_EXECUTOR_TERMINATED',
  'REASON_EXECUTOR_REREGISTRATION_TIMEOUT',
  'REASON_CONTAINER_LIMITATION_DISK',
  'REASON_INVALID_OFFERS',
  'REASON_RECONCILIATION',
  'REASON_TASK_INVALID',
];

/**
 * Any history of updates, true or absurd, between offers that show the volumes or not: without an operator's
 * word nothing of a disk is ever destroyed or unreserved.
 */
function walk(seed: number): void {
  const random = new Prng(seed);
  const agents = ['a', 'b'].map((name) => new ModelAgent(name, usualResources()));
  const scenario = new Scenario(agents, { claimPerNode: 2 }).ready().bringUp();
  for (let count = 0; count < 60; count += 1) {
    const agent = random.pick(agents);
    const dice = random.below(10);
    if (dice < 5) {
      const disk = random.pick(scenario.disks());
      const { state } = random.pick(ROWS);
      const reason = random.pick(REASONS);
      const source = random.pick(['SOURCE_EXECUTOR', 'SOURCE_AGENT', 'SOURCE_MASTER'] as const);
      const uuid = source === 'SOURCE_MASTER' ? { uuid: undefined } : {};
      const why = reason === undefined ? {} : { reason };
      scenario.update(disk.taskId ?? 'none', state, { source, ...uuid, ...why });
    } else if (dice < 7) {
      for (const taskId of [...agent.tasks.keys()]) if (random.chance(0.5)) agent.endTask(taskId);
      expectHarmless(scenario.offer([agent]), seed);
    } else if (dice < 8) {
      for (const executor of [...agent.executors.keys()]) agent.endExecutor(executor);
    } else if (dice < 9) {
      scenario.restart();
      scenario.ready();
    } else expectHarmless(scenario.tick(random.pick([1_000, 60_000])), seed);
    if (scenario.disks().length === 0) return;
  }
}

function expectHarmless(calls: readonly SchedulerCall[], seed: number): void {
  for (const operation of operations(calls)) {
    expect(operation.type, `seed ${seed}`).not.to.equal('DESTROY');
    const disks = (operation.unreserve?.resources ?? []).filter(({ name }) => name === 'disk');
    expect(disks, `seed ${seed}: unreserved`).to.eql([]);
  }
}

describe('tasks: any history of updates', () => {
  it('nothing of a disk is destroyed or unreserved without an operator, 150 random histories', () => {
    for (let seed = 1; seed <= 150; seed += 1) walk(seed);
  });
});

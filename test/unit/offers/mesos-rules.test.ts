import { expect } from 'chai';
import type { ExecutorInfo, Resource, TaskInfo } from '../../../shared/mesos/messages.ts';
import type { OfferOperation, SchedulerCall } from '../../../shared/mesos/scheduler-messages.ts';
import { type KnownFacts, MesosRules, type Rule } from './mesos-rules.ts';

const FACTS: KnownFacts = {
  releasing: new Set(['pv-gone', 'd9']),
  role: 'cistern',
  principal: 'p',
  clusterId: 'c1',
  passing: ['10.0.0.1:7400'],
};

function ours(name: string, more: Partial<Resource> = {}, cluster = 'c1'): Resource {
  const labels = {
    labels: [
      { key: 'cistern.cluster', value: cluster },
      { key: 'cistern.disk', value: 'd1' },
    ],
  };
  return {
    name,
    type: 'SCALAR',
    scalar: { value: 1 },
    reservations: [{ type: 'DYNAMIC', role: 'cistern', principal: 'p', labels }],
    ...more,
  };
}

const volume = (id: string, path = 'disk-d1'): Resource =>
  ours('disk', { disk: { persistence: { id }, volume: { mode: 'RW', container_path: path } } });

const EXECUTOR: ExecutorInfo = {
  type: 'CUSTOM',
  executor_id: { value: 'n1-v1' },
  command: { value: 'run' },
  resources: [ours('cpus')],
};

const task = (id: string, executor = EXECUTOR): TaskInfo => ({
  name: 't',
  task_id: { value: id },
  agent_id: { value: 'a1' },
  resources: [volume('pv-1')],
  executor,
});

const launch = (...tasks: TaskInfo[]): OfferOperation => ({
  type: 'LAUNCH',
  launch: { task_infos: tasks },
});

/** A world with one offer of agent a1. */
class Court {
  readonly rules = new MesosRules();
  #offers = 0;
  nowMs = 0;

  constructor() {
    this.rules.onEvent({ type: 'SUBSCRIBED', subscribed: { framework_id: { value: 'fw' } } });
  }

  offer(): { readonly value: string } {
    this.#offers += 1;
    const id = { value: `o${this.#offers}` };
    const offer = {
      id,
      framework_id: { value: 'fw' },
      agent_id: { value: 'a1' },
      hostname: 'a1',
    };
    this.rules.onEvent({ type: 'OFFERS', offers: { offers: [offer] } });
    return id;
  }

  judge(...calls: SchedulerCall[]): this {
    this.rules.onCalls(calls, FACTS, this.nowMs);
    return this;
  }

  accept(...operations: OfferOperation[]): this {
    const accept = { offer_ids: [this.offer()], operations, filters: { refuse_seconds: 5 } };
    return this.judge({ type: 'ACCEPT', accept });
  }

  status(taskId: string, state: 'TASK_LOST' | 'TASK_UNREACHABLE' | 'TASK_FAILED'): this {
    const status = { task_id: { value: taskId }, state };
    this.rules.onEvent({ type: 'UPDATE', update: { status } });
    return this;
  }
}

const BROKEN: Readonly<Record<Rule, readonly (() => unknown)[]>> = {
  'type-known': [() => new Court().judge({}), () => new Court().judge({ type: 'UNKNOWN' })],
  'offer-answered': [
    () => {
      const court = new Court();
      court.offer();
      court.judge();
    },
  ],
  'offer-current': [
    () => new Court().judge(decline('never-offered')),
    () => {
      const court = new Court();
      const { value } = court.offer();
      court.rules.onEvent({ type: 'SUBSCRIBED', subscribed: { framework_id: { value: 'fw' } } });
      court.judge(decline(value));
    },
  ],
  'revive-throttled': [
    () => {
      const court = new Court().judge({ type: 'REVIVE', revive: {} });
      court.nowMs += 4_999;
      court.judge({ type: 'REVIVE', revive: {} });
    },
  ],
  'filter-bounded': [
    () => {
      const court = new Court();
      court.judge(decline(court.offer().value, 86_400));
    },
    () => {
      const court = new Court();
      court.judge({ type: 'DECLINE', decline: { offer_ids: [court.offer()] } });
    },
  ],
  'no-blind-relaunch': [
    () => new Court().accept(launch(task('d1-1'))).accept(launch(task('d1-2'))),
    () => {
      const court = new Court().accept(launch(task('d1-1')));
      court.status('d1-1', 'TASK_LOST').accept(launch(task('d1-2')));
    },
    () => {
      const court = new Court().accept(launch(task('d1-1')));
      court.status('d1-1', 'TASK_UNREACHABLE').accept(launch(task('d1-2')));
    },
  ],
  'task-id-fresh': [
    () => {
      const court = new Court().accept(launch(task('d1-1')));
      court.status('d1-1', 'TASK_FAILED').accept(launch(task('d1-1')));
    },
  ],
  'destroy-recorded': [
    () => new Court().accept({ type: 'DESTROY', destroy: { volumes: [volume('pv-1')] } }),
    () => new Court().accept({ type: 'UNRESERVE', unreserve: { resources: [ours('disk')] } }),
  ],
  'own-resources': [
    () => new Court().accept(launch({ ...task('d1-1'), resources: [ours('gpus')] })),
    () =>
      new Court().accept(launch({ ...task('d1-1'), resources: [ours('cpus', { revocable: {} })] })),
    () =>
      new Court().accept(
        launch({ ...task('d1-1'), resources: [ours('cpus', { reservations: [] })] }),
      ),
    () =>
      new Court().accept({ type: 'UNRESERVE', unreserve: { resources: [ours('cpus', {}, 'c2')] } }),
    () =>
      new Court().accept({
        type: 'SHRINK_VOLUME',
        shrink_volume: { volume: volume('pv-1'), subtract: { value: 1 } },
      }),
  ],
  'volume-path': [
    () => new Court().accept({ type: 'CREATE', create: { volumes: [volume('pv-1', 'disks/d1')] } }),
  ],
  'no-operation-id': [() => new Court().accept({ ...launch(task('d1-1')), id: { value: 'op' } })],
  'acknowledged-once': [
    () => {
      const court = new Court();
      court.rules.onEvent(update(Buffer.alloc(16, 1)));
      court.judge();
    },
    () => {
      const court = new Court();
      court.rules.onEvent(update(undefined));
      court.judge(acknowledge(Buffer.alloc(16)));
    },
    () => {
      const court = new Court();
      court.rules.onEvent(update(Buffer.alloc(16, 1)));
      court.judge(acknowledge(Buffer.alloc(16, 1)), acknowledge(Buffer.alloc(16, 1)));
    },
  ],
  'executor-info-stable': [
    () => {
      const court = new Court().accept(launch(task('d1-1')));
      const other = { ...EXECUTOR, command: { value: 'run --term 2' } };
      court.accept(launch(task('d2-1', other)));
    },
    () => {
      const command = { value: 'run', uris: [{ value: 'http://10.0.0.1:7400/x' }] };
      new Court().accept(launch(task('d1-1', { ...EXECUTOR, command })));
    },
  ],
  'nothing-secret': [
    () => {
      const variables = [{ name: 'API_TOKEN', value: 'x' }];
      const command = { value: 'run', environment: { variables } };
      new Court().accept(launch(task('d1-1', { ...EXECUTOR, command })));
    },
  ],
  'no-teardown': [() => new Court().judge({ type: 'TEARDOWN' })],
  'silent-while-away': [
    () => {
      const court = new Court();
      court.rules.onEvent({ type: 'ERROR', error: { message: 'Framework failed over' } });
      court.judge({ type: 'REVIVE', revive: {} });
    },
    () => {
      const court = new Court();
      court.rules.onDisconnected();
      court.judge({ type: 'SUPPRESS', suppress: {} });
    },
  ],
};

function decline(value: string, refuse_seconds = 5): SchedulerCall {
  return { type: 'DECLINE', decline: { offer_ids: [{ value }], filters: { refuse_seconds } } };
}

function update(uuid: Buffer | undefined): Parameters<MesosRules['onEvent']>[0] {
  const status = {
    task_id: { value: 'd1-1' },
    state: 'TASK_RUNNING' as const,
    agent_id: { value: 'a1' },
    uuid,
  };
  return { type: 'UPDATE', update: { status } };
}

function acknowledge(uuid: Buffer): SchedulerCall {
  const ids = { agent_id: { value: 'a1' }, task_id: { value: 'd1-1' } };
  return { type: 'ACKNOWLEDGE', acknowledge: { ...ids, uuid } };
}

describe('mesos rules', () => {
  for (const [rule, samples] of Object.entries(BROKEN)) {
    it(`${rule}: each way to break it is caught`, () => {
      for (const [index, sample] of samples.entries()) {
        expect(sample, `sample ${index}`).to.throw(`Rule "${rule}" is broken`);
      }
    });
  }

  it('a well-behaved framework: nothing is found', () => {
    const court = new Court();
    court.accept(
      { type: 'RESERVE', reserve: { resources: [ours('cpus')] } },
      { type: 'CREATE', create: { volumes: [volume('pv-1')] } },
      launch(task('d1-1')),
    );
    court.status('d1-1', 'TASK_FAILED').accept(launch(task('d1-2')));
    court.accept({ type: 'DESTROY', destroy: { volumes: [volume('pv-gone')] } });
    court.judge({ type: 'REVIVE', revive: {} });
    court.nowMs += 5_000;
    court.judge({ type: 'REVIVE', revive: {} });
  });
});

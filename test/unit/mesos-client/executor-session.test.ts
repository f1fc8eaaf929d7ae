import { expect } from 'chai';
import { ExecutorSession, type SessionOutput } from '../../../executor/mesos-session.ts';
import type { ExecutorEvent } from '../../../shared/mesos/executor-messages.ts';
import type { TaskInfo, TaskState } from '../../../shared/mesos/messages.ts';

const uuid = (fill: number): Buffer => Buffer.alloc(16, fill);

function task(id: string, more: Partial<TaskInfo> = {}): TaskInfo {
  return { name: id, task_id: { value: id }, agent_id: { value: 'S1' }, ...more };
}

function session(): ExecutorSession {
  const created = new ExecutorSession({ frameworkId: 'fw', executorId: 'e1' });
  created.onEvent({ type: 'SUBSCRIBED' });
  return created;
}

const launch = (id: string): ExecutorEvent => ({ type: 'LAUNCH', launch: { task: task(id) } });

function report(
  at: ExecutorSession,
  taskId: string,
  state: TaskState,
  fill: number,
): SessionOutput[] {
  return at.update({ taskId, state, message: '', uuid: uuid(fill), wallMs: 1_500 });
}

function acknowledge(at: ExecutorSession, taskId: string, fill: number): void {
  at.onEvent({
    type: 'ACKNOWLEDGED',
    acknowledged: { task_id: { value: taskId }, uuid: uuid(fill) },
  });
}

function unacknowledged(at: ExecutorSession): { tasks: string[]; updates: number[] } {
  const { subscribe } = at.subscribeCall();
  return {
    tasks: subscribe?.unacknowledged_tasks?.map(({ task_id }) => task_id.value) ?? [],
    updates: subscribe?.unacknowledged_updates?.map(({ status }) => status.uuid?.[0] ?? -1) ?? [],
  };
}

describe('executor session: what the agent is told again', () => {
  it('first subscription: both lists are there and empty', () => {
    const fresh = new ExecutorSession({ frameworkId: 'fw', executorId: 'e1' });
    expect(fresh.subscribeCall()).to.deep.equal({
      executor_id: { value: 'e1' },
      framework_id: { value: 'fw' },
      type: 'SUBSCRIBE',
      subscribe: { unacknowledged_tasks: [], unacknowledged_updates: [] },
    });
  });

  it('a launched task: unacknowledged until any update of it is stored', () => {
    const at = session();
    expect(at.onEvent(launch('t1'))).to.deep.equal([{ kind: 'launch', task: task('t1') }]);
    expect(unacknowledged(at)).to.deep.equal({ tasks: ['t1'], updates: [] });
    report(at, 't1', 'TASK_STARTING', 1);
    report(at, 't1', 'TASK_RUNNING', 2);
    expect(unacknowledged(at)).to.deep.equal({ tasks: ['t1'], updates: [1, 2] });
    acknowledge(at, 't1', 1);
    expect(unacknowledged(at)).to.deep.equal({ tasks: [], updates: [2] });
    expect(at.pendingUpdates).to.equal(1);
  });

  it('updates while disconnected: not sent, but kept for the next subscription in order', () => {
    const at = session();
    at.onEvent(launch('t1'));
    at.disconnected();
    expect(report(at, 't1', 'TASK_RUNNING', 1)).to.deep.equal([]);
    expect(report(at, 't1', 'TASK_FAILED', 2)).to.deep.equal([]);
    expect(unacknowledged(at).updates).to.deep.equal([1, 2]);
    at.onEvent({ type: 'SUBSCRIBED' });
    acknowledge(at, 't1', 1);
    acknowledge(at, 't1', 2);
    expect(unacknowledged(at)).to.deep.equal({ tasks: [], updates: [] });
  });

  it('an update as the agent wants it', () => {
    const at = session();
    at.onEvent(launch('t1'));
    const [output] = at.update({
      taskId: 't1',
      state: 'TASK_FAILED',
      message: 'disk error',
      reason: 'REASON_TASK_HEALTH_CHECK_STATUS_UPDATED',
      uuid: uuid(7),
      wallMs: 1_500,
    });
    expect(output).to.deep.equal({
      kind: 'call',
      call: {
        executor_id: { value: 'e1' },
        framework_id: { value: 'fw' },
        type: 'UPDATE',
        update: {
          status: {
            task_id: { value: 't1' },
            state: 'TASK_FAILED',
            source: 'SOURCE_EXECUTOR',
            executor_id: { value: 'e1' },
            timestamp: 1.5,
            uuid: uuid(7),
            message: 'disk error',
            reason: 'REASON_TASK_HEALTH_CHECK_STATUS_UPDATED',
          },
        },
      },
    });
  });
});

describe('executor session: events', () => {
  it('the same launch again: once', () => {
    const at = session();
    at.onEvent(launch('t1'));
    expect(at.onEvent(launch('t1'))).to.deep.equal([]);
  });

  it('a task group: every task of it', () => {
    const tasks = [task('t1'), task('t2')];
    const outputs = session().onEvent({
      type: 'LAUNCH_GROUP',
      launch_group: { task_group: { tasks } },
    });
    expect(outputs.map(({ kind }) => kind)).to.deep.equal(['launch', 'launch']);
  });

  it('kill: grace of the event, else of the task, else our own; nothing for others', () => {
    const at = session();
    const policy = (seconds: number) => ({ grace_period: { nanoseconds: seconds * 1e9 } });
    const kill = (id: string, seconds?: number): SessionOutput[] =>
      at.onEvent({
        type: 'KILL',
        kill: {
          task_id: { value: id },
          ...(seconds === undefined ? {} : { kill_policy: policy(seconds) }),
        },
      });
    at.onEvent({ type: 'LAUNCH', launch: { task: task('t1', { kill_policy: policy(7) }) } });
    at.onEvent(launch('t2'));
    expect(kill('t1', 3)).to.deep.equal([{ kind: 'kill', taskId: 't1', graceMs: 3000 }]);
    expect(kill('t1')).to.deep.equal([{ kind: 'kill', taskId: 't1', graceMs: 7000 }]);
    expect(kill('t2')).to.deep.equal([{ kind: 'kill', taskId: 't2', graceMs: 10_000 }]);
    expect(kill('t3')).to.deep.equal([]);
    report(at, 't1', 'TASK_KILLED', 1);
    expect(kill('t1')).to.deep.equal([]);
  });

  it('after its end a task has no more updates', () => {
    const at = session();
    at.onEvent(launch('t1'));
    report(at, 't1', 'TASK_FAILED', 1);
    expect(report(at, 't1', 'TASK_RUNNING', 2)).to.deep.equal([]);
    expect(report(at, 'nobody', 'TASK_RUNNING', 3)).to.deep.equal([]);
    expect(at.pendingUpdates).to.equal(1);
  });

  it('nothing is ever acknowledged: refused at the bound, not grown for ever', () => {
    const at = session();
    at.onEvent(launch('t1'));
    const fill = (): void => {
      for (let count = 0; count < 5000; count += 1) {
        const id = Buffer.alloc(16);
        id.writeUInt32BE(count);
        at.update({ taskId: 't1', state: 'TASK_RUNNING', message: '', uuid: id, wallMs: 0 });
      }
    };
    expect(fill).to.throw(/acknowledges no updates/);
    expect(at.pendingUpdates).to.equal(4096);
  });

  it('message, shutdown, error, and events of a newer Mesos', () => {
    const at = session();
    const data = Buffer.from('hi');
    expect(at.onEvent({ type: 'MESSAGE', message: { data } })).to.eql([{ kind: 'message', data }]);
    expect(at.onEvent({ type: 'SHUTDOWN' })).to.deep.equal([{ kind: 'shutdown' }]);
    expect(at.onEvent({ type: 'ERROR', error: { message: 'no' } })).to.deep.equal([
      { kind: 'give-up', reason: 'agent says: no' },
    ]);
    for (const event of [{}, { type: 'HEARTBEAT' as const }, { type: 'UNKNOWN' as const }]) {
      expect(at.onEvent(event)).to.deep.equal([]);
    }
  });
});

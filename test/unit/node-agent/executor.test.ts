/** The executor's shell on virtual time: when the end of a task is told. */
import { expect } from 'chai';
import type { DataPlane } from '../../../executor/data-plane.ts';
import { Executor, type NodeParts } from '../../../executor/executor.ts';
import { diskId, nodeId } from '../../../shared/base/ids.ts';
import type { TaskState } from '../../../shared/mesos/messages.ts';
import { EMPTY_REPORT } from '../../../shared/model/node-report.ts';
import { encodeTaskData } from '../../../shared/model/task-data.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';

class Bench {
  readonly clock = new VirtualClock();
  readonly told: string[] = [];
  /** Disks that are being closed, and what ends that. */
  readonly closing: (() => void)[] = [];
  readonly executor: Executor;

  constructor() {
    const dataPlane: Partial<DataPlane> = {
      addDisk: () => undefined,
      removeDisk: () => new Promise((resolve) => this.closing.push(resolve)),
      report: () => EMPTY_REPORT,
    };
    const agent = { start: () => undefined, setManager: () => undefined };
    this.executor = new Executor({
      clock: this.clock,
      log: () => undefined,
      reporter: {
        update: (taskId: string, state: TaskState) => this.told.push(`${taskId} ${state}`),
        sendMessage: () => undefined,
      },
      // The two verbs that a launch and a kill use.
      createNode: () => ({ agent, dataPlane }) as unknown as NodeParts,
      resolveVolume: (path) => `/sandbox/${path}`,
      onFinished: () => undefined,
    });
    const data = Buffer.from(
      encodeTaskData({
        format: 1,
        clusterId: '1f2e3d4c-5b6a-4789-8abc-def012345678',
        node: nodeId(1),
        disk: diskId(1),
        uuid: '1f2e3d4c-5b6a-8789-8abc-def012345678',
        containerPath: 'disk-d1',
        capacityBytes: 1 << 30,
        controlAddress: '10.0.0.1:7400',
        term: 1,
      }),
    );
    this.executor.onLaunch({
      name: 't',
      task_id: { value: 't1' },
      agent_id: { value: 'a1' },
      data,
    });
    this.told.length = 0;
  }
}

describe('executor: the end of a task', () => {
  it('killed: told when the store is closed, since Mesos takes the volume away with that word', async () => {
    const bench = new Bench();
    bench.executor.onKill('t1');
    // Mesos repeats the order while nothing is heard.
    bench.executor.onKill('t1');
    await Promise.resolve();
    expect(bench.told).to.deep.equal([]);
    expect(bench.closing).to.have.length(1);
    bench.closing[0]?.();
    await Promise.resolve();
    await Promise.resolve();
    expect(bench.told).to.deep.equal(['t1 TASK_KILLED']);
  });

  it('killed, and the disk hangs: told before the grace period is over, once', async () => {
    const bench = new Bench();
    bench.executor.onKill('t1');
    await bench.clock.runFor(9_000);
    expect(bench.told).to.deep.equal(['t1 TASK_KILLED']);
    bench.closing[0]?.();
    await Promise.resolve();
    await Promise.resolve();
    expect(bench.told).to.have.length(1);
  });
});

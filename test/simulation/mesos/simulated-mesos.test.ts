/** The simulated Mesos keeps to what real masters and agents do with executors that end and agents that begin anew. */
import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import type { TaskInfo, TaskStatus } from '../../../shared/mesos/messages.ts';
import type { Offer } from '../../../shared/mesos/scheduler-messages.ts';
import { mount, scalar } from '../../unit/offers/agent-model.ts';
import { SimulatedNetwork } from '../ports/simulated-network.ts';
import { VirtualClock } from '../ports/virtual-clock.ts';
import { Trace } from '../trace.ts';
import type { AgentMachine, ContainerReporter } from './simulated-agent.ts';
import { type MesosSubscription, SimulatedMesos } from './simulated-mesos.ts';

/** One agent with two free disks, and a subscription that notes what it hears. */
class Site {
  readonly clock = new VirtualClock();
  readonly mesos: SimulatedMesos;
  readonly offers: Offer[] = [];
  readonly updates: TaskStatus[] = [];
  readonly containers: ContainerReporter[] = [];
  readonly subscription: MesosSubscription;

  constructor() {
    const { clock } = this;
    const random = new Prng('mesos');
    const network = new SimulatedNetwork(clock, random.fork('network'));
    this.mesos = new SimulatedMesos({ clock, random, network, trace: new Trace(clock) });
    this.mesos.duplicateChance = 0;
    const machine: AgentMachine = {
      isPowered: true,
      startContainer: (_executorId, reporter) => {
        this.containers.push(reporter);
        return {
          launch: ({ task_id }) => reporter.update(task_id.value, 'TASK_RUNNING', ''),
          kill: () => undefined,
          message: () => undefined,
          shutdown: () => undefined,
          destroy: () => undefined,
        };
      },
    };
    const resources = [scalar('cpus', 4), mount('/mnt/a', 10), mount('/mnt/b', 10)];
    this.mesos.addAgent({ hostname: 'a', zone: null }, resources, machine);
    this.subscription = this.mesos.subscribe(
      {
        onEvent: ({ offers, update }) => {
          this.offers.push(...(offers?.offers ?? []));
          if (update !== undefined) this.#onUpdate(update.status);
        },
        onDisconnected: () => undefined,
      },
      null,
    );
    this.subscription.call({ type: 'REVIVE' });
  }

  #onUpdate(status: TaskStatus): void {
    const { uuid, agent_id, task_id } = status;
    // Sent again until the acknowledgement has arrived.
    const isNew = uuid === undefined || !this.updates.some((known) => known.uuid?.equals(uuid));
    if (isNew) this.updates.push(status);
    if (uuid === undefined || agent_id === undefined) return;
    this.subscription.call({ type: 'ACKNOWLEDGE', acknowledge: { agent_id, task_id, uuid } });
  }

  /** Takes the newest offer for tasks of one executor, each on a disk of its own. */
  launch(taskIds: readonly string[]): void {
    const offer = this.offers.at(-1);
    if (offer === undefined) throw new Error('nothing was offered');
    const disks = (offer.resources ?? []).filter(({ name }) => name === 'disk');
    const tasks = taskIds.map((value, index): TaskInfo => {
      const disk = disks[index];
      return {
        name: value,
        task_id: { value },
        agent_id: offer.agent_id,
        resources: disk === undefined ? [] : [disk],
        executor: { executor_id: { value: 'x' }, type: 'CUSTOM', resources: [scalar('cpus', 1)] },
      };
    });
    this.subscription.call({
      type: 'ACCEPT',
      accept: {
        offer_ids: [offer.id],
        operations: [{ type: 'LAUNCH', launch: { task_infos: tasks } }],
        filters: { refuse_seconds: 0 },
      },
    });
  }

  statesOf(taskId: string): string[] {
    return this.updates
      .filter(({ task_id }) => task_id.value === taskId)
      .map(({ state, reason }) => `${state} ${reason ?? ''}`.trim());
  }
}

describe('simulated Mesos', () => {
  it('a task for an executor that has ended meanwhile: dropped, and not started anew', async () => {
    const site = new Site();
    await site.clock.runFor(3_000);
    site.launch(['t1']);
    await site.clock.runFor(3_000);
    expect(site.statesOf('t1')).to.deep.equal(['TASK_RUNNING']);
    expect(site.offers.at(-1)?.executor_ids).to.deep.equal([{ value: 'x' }]);
    // The word on the end takes long: the master judges the launch before it hears of that.
    site.mesos.delayMsMax = 60_000;
    site.containers.at(-1)?.onEnded();
    await site.clock.runFor(1_000);
    site.mesos.calm();
    site.launch(['t2']);
    await site.clock.runFor(120_000);
    expect(site.containers, 'containers that were started').to.have.length(1);
    expect(site.statesOf('t2')).to.deep.equal(['TASK_DROPPED REASON_EXECUTOR_TERMINATED']);
    site.launch(['t3']);
    await site.clock.runFor(60_000);
    expect(site.containers).to.have.length(2);
    expect(site.statesOf('t3')).to.deep.equal(['TASK_RUNNING']);
  });

  for (const isWiped of [false, true]) {
    it(`an agent begins anew (wiped: ${isWiped}): its tasks are lost, its resources offered`, async () => {
      const site = new Site();
      await site.clock.runFor(3_000);
      site.launch(['t1', 't2']);
      await site.clock.runFor(3_000);
      site.mesos.renewAgent('a', isWiped);
      await site.clock.runFor(5_000);
      for (const task of ['t1', 't2']) {
        expect(site.statesOf(task)).to.deep.equal([
          'TASK_RUNNING',
          'TASK_LOST REASON_AGENT_REMOVED',
        ]);
      }
      const offer = site.offers.at(-1);
      expect(offer?.agent_id.value).to.equal('agent-a-S1');
      const names = (offer?.resources ?? []).map(({ name }) => name).toSorted();
      expect(names).to.deep.equal(['cpus', 'disk', 'disk']);
    });
  }
});

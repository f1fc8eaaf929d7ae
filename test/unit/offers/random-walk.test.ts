import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import type { SchedulerCall } from '../../../shared/mesos/scheduler-messages.ts';
import { ModelAgent, usualResources } from './agent-model.ts';
import { Scenario } from './scenario.ts';

/**
 * Anything that Mesos and the world may do, in any order: lost and refused ACCEPTs, ends of tasks and
 * executors, lost and repeated updates, failovers, agents under new ids. After every step the rules hold;
 * when the faults stop, every disk runs again on its own volume.
 */
class Walk {
  readonly random: Prng;
  readonly agents: ModelAgent[];
  readonly scenario: Scenario;
  /** Updates that an agent still has to deliver, in order. */
  readonly #undelivered: (() => void)[] = [];

  constructor(seed: number) {
    this.random = new Prng(seed);
    this.agents = ['a', 'b', 'c'].map((name) => new ModelAgent(name, usualResources()));
    this.scenario = new Scenario(this.agents, { claimPerNode: 2 }).ready();
  }

  run(steps: number): void {
    for (let step = 0; step < steps; step += 1) {
      this.#step();
      this.#check();
    }
  }

  /** No more faults: everything is delivered, asked questions are answered, all is offered. */
  settle(): void {
    for (let round = 0; round < 900; round += 1) {
      if (round === 700) this.#forgetVanished();
      for (const deliver of this.#undelivered.splice(0)) deliver();
      this.#answer(this.scenario.tick(1000));
      for (const agent of this.agents) this.#startTasks(agent);
      this.scenario.offer();
      for (const deliver of this.#undelivered.splice(0)) deliver();
      this.#check();
    }
  }

  /** What an operator does with nodes whose agents registered anew after all was given back. */
  #forgetVanished(): void {
    const agentIds = new Set(this.agents.map(({ agentId }) => agentId));
    for (const node of this.scenario.state.facts.nodes.values()) {
      if (agentIds.has(node.agentId)) continue;
      this.scenario.state.facts.nodes.update(node.id, { admin: 'gone', removedAtVersion: 1 });
    }
  }

  #step(): void {
    const { random, scenario } = this;
    const agent = random.pick(this.agents);
    const choice = random.below(100);
    if (choice < 30) this.#answer(scenario.tick(random.pick([250, 1000, 5000, 40_000])));
    else if (choice < 50) scenario.offer([agent], random.chance(0.2));
    else if (choice < 60) this.#startTasks(agent);
    else if (choice < 68) this.#endTask(agent);
    else if (choice < 73) this.#endExecutor(agent);
    else if (choice < 85) this.#undelivered.shift()?.();
    else if (choice < 89) this.#undelivered[0]?.();
    else if (choice < 92) this.#failOver();
    else if (choice < 94) this.#newAgentId(agent);
    else if (choice < 97) this.#rescind(agent);
    else this.#release();
  }

  #startTasks(agent: ModelAgent): void {
    for (const taskId of agent.tasks.keys()) {
      this.#undelivered.push(() => this.scenario.update(taskId, 'TASK_RUNNING'));
    }
  }

  #endTask(agent: ModelAgent): void {
    const [taskId] = this.random.shuffle([...agent.tasks.keys()]);
    if (taskId === undefined) return;
    agent.endTask(taskId);
    const state = this.random.pick(['TASK_FAILED', 'TASK_KILLED', 'TASK_FINISHED'] as const);
    this.#undelivered.push(() => {
      this.scenario.update(taskId, state, { agent_id: { value: agent.agentId } });
    });
  }

  #endExecutor(agent: ModelAgent): void {
    const [executor] = [...agent.executors.keys()];
    if (executor === undefined) return;
    const agentId = { value: agent.agentId };
    this.#undelivered.push(() => {
      this.scenario.event({
        type: 'FAILURE',
        failure: { agent_id: agentId, executor_id: { value: executor }, status: 9 },
      });
    });
    for (const taskId of agent.endExecutor(executor)) {
      this.#undelivered.push(() => {
        this.scenario.update(taskId, 'TASK_FAILED', {
          agent_id: agentId,
          source: 'SOURCE_AGENT',
          reason: 'REASON_EXECUTOR_TERMINATED',
        });
      });
    }
  }

  #failOver(): void {
    if (this.random.chance(0.5)) this.scenario.restart();
    else this.scenario.disconnect();
    this.scenario.look();
    this.#answer(this.scenario.subscribe().look());
  }

  /** A reboot whose recovery failed: everything stops, the volumes stay, the agent is another one. */
  #newAgentId(agent: ModelAgent): void {
    for (const executor of [...agent.executors.keys()]) agent.endExecutor(executor);
    agent.agentId = `${agent.agentId}x`;
  }

  /** An offer is withdrawn while we accept it: the launches are dropped. */
  #rescind(agent: ModelAgent): void {
    for (const { accept } of this.scenario.offer([agent], true)) {
      for (const { launch } of accept?.operations ?? []) {
        for (const task of launch?.task_infos ?? []) {
          this.scenario.masterUpdate(task.task_id.value, 'TASK_DROPPED', {
            reason: 'REASON_INVALID_OFFERS',
          });
        }
      }
    }
  }

  #release(): void {
    const disk = this.random.pick([...this.scenario.disks(), null]);
    if (disk === null || disk.phase === 'releasing') return;
    this.scenario.state.facts.disks.update(disk.id, { phase: 'releasing' });
  }

  /** What the master does with calls: answers questions, ends tasks and executors. */
  #answer(calls: readonly SchedulerCall[]): void {
    for (const call of calls) {
      for (const { task_id } of call.reconcile?.tasks ?? []) {
        const runs = this.agents.some(({ tasks }) => tasks.has(task_id.value));
        const state = runs ? 'TASK_RUNNING' : 'TASK_GONE';
        this.scenario.masterUpdate(task_id.value, state, { reason: 'REASON_RECONCILIATION' });
      }
      const killed = call.kill?.task_id.value;
      const agent = this.agents.find(({ tasks }) => killed !== undefined && tasks.has(killed));
      if (killed !== undefined && agent !== undefined) {
        agent.endTask(killed);
        this.#undelivered.push(() => this.scenario.update(killed, 'TASK_KILLED'));
      }
      const { shutdown } = call;
      const host = this.agents.find(({ agentId }) => agentId === shutdown?.agent_id.value);
      if (shutdown !== undefined && host !== undefined) this.#endExecutor(host);
    }
  }

  #check(): void {
    const disks = this.scenario.disks();
    const known = new Set(disks.map(({ persistenceId }) => persistenceId));
    for (const agent of this.agents) {
      expect(agent.executors.size, 'one executor per agent').to.be.at.most(1);
      const held = new Set<string>();
      const all = [
        ...agent.free,
        ...[...agent.tasks.values()].flatMap((task) => task.resources ?? []),
      ];
      for (const { disk } of all) {
        const id = disk?.persistence?.id;
        if (id === undefined) continue;
        expect(held.has(id), `volume ${id} exists once`).to.equal(false);
        expect(known.has(id), `volume ${id} is in the store`).to.equal(true);
        held.add(id);
      }
    }
    const ids = this.agents.flatMap(({ tasks }) => [...tasks.keys()]);
    const perDisk = ids.map((taskId) => taskId.replace(/-\d+$/, ''));
    expect(new Set(perDisk).size, 'one task per disk').to.equal(perDisk.length);
  }
}

describe('offers: random walks', () => {
  for (let seed = 1; seed <= 30; seed += 1) {
    it(`seed ${seed}: rules hold all along, everything runs in the end`, () => {
      const walk = new Walk(seed);
      walk.run(250);
      walk.settle();
      const { scenario, agents } = walk;
      const running = agents.flatMap(({ tasks }) => [...tasks.keys()]).toSorted();
      expect(scenario.disks().map(({ phase }) => phase)).to.deep.equal(
        scenario.disks().map(() => 'launched'),
      );
      expect(
        scenario
          .disks()
          .map(({ taskId }) => taskId ?? '')
          .toSorted(),
      ).to.deep.equal(running);
      expect(running, 'two per agent').to.have.length(6);
      const strays = agents.flatMap(({ free }) =>
        free.filter(({ reservations }) => (reservations?.length ?? 0) > 0),
      );
      expect(strays, 'nothing is reserved in vain').to.deep.equal([]);
    });
  }
});

/** A store that is empty, or another cluster's, while Mesos shows reserved disks: hands off, and say so. */
import { expect } from 'chai';
import { explainSubject } from '../../../scheduler/core/explain/explain.ts';
import { clusterHealth } from '../../../scheduler/core/explain/health.ts';
import { findLostStore } from '../../../scheduler/core/mesos/lost-store.ts';
import { ModelAgent, mount, usualResources } from './agent-model.ts';
import { Scenario, typesOf } from './scenario.ts';

const agent = (name: string): ModelAgent => new ModelAgent(name, usualResources());

/** An agent with a disk that cluster `cluster` has reserved. */
function labelled(name: string, cluster = 'lost-one'): ModelAgent {
  const made = agent(name);
  const labels = [
    { key: 'cistern.cluster', value: cluster },
    { key: 'cistern.node', value: 'n1' },
    { key: 'cistern.disk', value: 'd1' },
    { key: 'cistern.intent', value: 'disk' },
  ];
  made.free.push({
    ...mount('/mnt/x', 250),
    reservations: [{ type: 'DYNAMIC', role: 'cistern', labels: { labels } }],
  });
  return made;
}

describe('lost store', () => {
  it('empty store, disks of another cluster: all offers declined, nothing recorded but why', () => {
    const agents = [agent('a'), labelled('b')];
    const scenario = new Scenario(agents).ready();
    // The labels are in the last offer of the event: the first one is not taken either.
    expect(typesOf(scenario.offer())).to.deep.equal(['DECLINE', 'DECLINE']);
    expect(scenario.disks()).to.deep.equal([]);
    expect(scenario.state.facts.nodes.size).to.equal(0);
    expect(scenario.eventKinds()).to.include('store.lost');
    expect(agents.flatMap(({ tasks }) => [...tasks.keys()])).to.deep.equal([]);
    // Also later, for agents without labels, and for the next leader on the same store.
    expect(typesOf(scenario.offer([agent('c')]))).to.deep.equal(['DECLINE']);
    scenario.restart();
    scenario.ready();
    expect(typesOf(scenario.offer())).to.deep.equal(['DECLINE', 'DECLINE']);
    expect(scenario.disks()).to.deep.equal([]);
  });

  it('explained: what was found, whose, where, and the command that adopts it', () => {
    const scenario = new Scenario([labelled('b')]).ready();
    expect(explainSubject(scenario.state, 'store', scenario.now)?.explanations).to.deep.equal([]);
    scenario.offer();
    const view = explainSubject(scenario.state, 'store', scenario.now);
    const [explanation] = view?.explanations ?? [];
    expect(explanation?.message).to.match(/1 of cluster "lost-one".* on b.*was empty/);
    expect(explanation?.command).to.contain('cistern recover');
    const { health, reasons } = clusterHealth(scenario.state, scenario.now);
    expect(health).to.equal('critical');
    expect(reasons.map(({ subject }) => subject)).to.include('store');
    const seen = [...scenario.state.mesos.seenAgents.values()][0];
    expect(seen?.reason?.kind).to.equal('lost-store');
  });

  it('the resources go: maintenance ends by itself, and disks are claimed', () => {
    const b = labelled('b');
    const scenario = new Scenario([b]).ready();
    scenario.offer();
    expect(findLostStore(scenario.state)).to.not.equal(null);
    b.free.pop();
    scenario.offer();
    expect(findLostStore(scenario.state)).to.equal(null);
    expect(scenario.disks()).to.have.length(1);
  });

  it('clusters that an operator ignores: no sign of anything', () => {
    const scenario = new Scenario([labelled('b')], { ignoredClusters: ['lost-one'] }).ready();
    scenario.offer();
    expect(scenario.disks()).to.have.length(1);
    expect(scenario.eventKinds()).to.not.include('store.lost');
  });

  it('a cluster that was begun this term and has no volume yet: stops when labels turn up', () => {
    const a = agent('a');
    const scenario = new Scenario([a]).ready().bringUp();
    expect(scenario.disks()).to.have.length(1);
    const b = labelled('b');
    expect(typesOf(scenario.offer([b]))).to.deep.equal(['DECLINE']);
    expect(b.tasks.size).to.equal(0);
    // Nothing is taken back from what runs.
    expect(a.tasks.size).to.equal(1);
  });

  it('a cluster at home: a neighbour in its role changes nothing', () => {
    const a = agent('a');
    const scenario = new Scenario([a]).ready().bringUp();
    scenario.restart();
    scenario.subscribe();
    scenario.update(scenario.taskId(), 'TASK_RUNNING');
    scenario.tick();
    scenario.offer([labelled('b')]);
    expect(findLostStore(scenario.state)).to.equal(null);
    expect(scenario.eventKinds()).to.not.include('store.lost');
  });

  it("another cluster's store: its own disks are nowhere, others are; nothing is launched", () => {
    const a = agent('a');
    const scenario = new Scenario([a], { claimPerNode: null }).ready().bringUp();
    scenario.restart();
    scenario.subscribe();
    for (const { taskId } of scenario.disks()) {
      scenario.masterUpdate(taskId ?? '', 'TASK_UNKNOWN', { reason: 'REASON_RECONCILIATION' });
    }
    scenario.tick(60_000);
    scenario.look();
    const calls = scenario.offer([agent('c'), labelled('b', 'right-one')]);
    expect(typesOf(calls)).to.deep.equal(['DECLINE', 'DECLINE']);
    const lost = findLostStore(scenario.state);
    expect(lost?.clusters).to.deep.equal(['right-one']);
    expect(lost?.message).to.contain('of which Mesos shows nothing');
    expect(scenario.state.facts.nodes.size).to.equal(1);
    for (const taskId of [...a.tasks.keys()]) a.endTask(taskId);
    // Its own labels turn up: it was at home after all.
    scenario.offer([a]);
    expect(findLostStore(scenario.state)).to.equal(null);
  });
});

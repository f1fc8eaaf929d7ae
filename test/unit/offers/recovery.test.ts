import { expect } from 'chai';
import { createPg } from '../../../scheduler/core/members/members.ts';
import { pgId } from '../../../shared/base/ids.ts';
import { ModelAgent, mount, usualResources } from './agent-model.ts';
import { CLUSTER_ID, operationTypes, Scenario, typesOf } from './scenario.ts';

const agent = (name = 'a'): ModelAgent => new ModelAgent(name, usualResources());

function labels(cluster: string, node: string, disk: string): { key: string; value: string }[] {
  return [
    { key: 'cistern.cluster', value: cluster },
    { key: 'cistern.node', value: node },
    { key: 'cistern.disk', value: disk },
    { key: 'cistern.intent', value: 'disk' },
  ];
}

describe('recovery: claims that were cut off', () => {
  it('crash between commit and ACCEPT: asked, gone, and claimed again as the same disk', () => {
    const a = agent();
    const scenario = new Scenario([a]).ready();
    scenario.offer([a], true);
    const { uuid, persistenceId, taskId } = scenario.disk();
    scenario.restart();
    const [reconcile] = scenario.subscribe().look();
    expect(scenario.disk().phase).to.equal('claiming');
    scenario.masterUpdate(taskId ?? '', 'TASK_GONE', { reason: 'REASON_RECONCILIATION' });
    expect(reconcile).to.not.equal(undefined);
    scenario.tick(2000);
    scenario.offer();
    expect(scenario.disks()).to.have.length(1);
    expect([scenario.disk().uuid, scenario.disk().persistenceId]).to.eql([uuid, persistenceId]);
    expect(scenario.taskId()).to.not.equal(taskId);
    expect([...a.tasks.keys()]).to.deep.equal([scenario.taskId()]);
  });

  const cuts = [
    { after: 'RESERVE of the disk', operations: 3, next: ['CREATE', 'LAUNCH'] },
    { after: 'CREATE', operations: 4, next: ['LAUNCH'] },
    {
      after: 'RESERVE of the executor',
      operations: 1,
      next: ['RESERVE', 'RESERVE', 'CREATE', 'LAUNCH'],
    },
  ];
  for (const { after, operations, next } of cuts) {
    it(`only what came up to ${after} was done: goes on from there`, () => {
      const a = agent();
      const scenario = new Scenario([a]).ready();
      const [accept] = scenario.offer([a], true);
      a.apply(accept?.accept?.operations?.slice(0, operations) ?? []);
      scenario.masterUpdate(scenario.taskId(), 'TASK_DROPPED', { reason: 'REASON_INVALID_OFFERS' });
      scenario.tick(1000);
      const [again] = scenario.offer();
      expect(operationTypes(again)).to.deep.equal(next);
      expect([...a.tasks.keys()]).to.deep.equal([scenario.taskId()]);
      expect(scenario.disks()).to.have.length(1);
    });
  }

  it('rescinded offer, ACCEPT in vain: dropped, no warning, tried again', () => {
    const a = agent();
    const scenario = new Scenario([a]).ready();
    scenario.offer([a], true);
    scenario.event({ type: 'RESCIND', rescind: { offer_id: { value: 'a-O1' } } });
    scenario.masterUpdate(scenario.taskId(), 'TASK_DROPPED', { reason: 'REASON_INVALID_OFFERS' });
    expect(scenario.eventKinds()).to.not.include('disk.down');
    scenario.tick(5000);
    expect(typesOf(scenario.look()).filter((type) => type === 'REVIVE')).to.have.length(2);
    scenario.offer();
    expect(scenario.taskId()).to.match(/-d1-2$/);
  });

  it('nothing heard of a launch: asked after half a minute', () => {
    const a = agent();
    const scenario = new Scenario([a]).ready();
    scenario.offer([a], true);
    const calls = scenario.pass(31);
    const asked = calls.filter(({ type }) => type === 'RECONCILE');
    expect(asked.at(0)?.reconcile?.tasks?.map(({ task_id }) => task_id.value)).to.deep.equal([
      scenario.taskId(),
    ]);
  });

  it('a claim that never comes up: given back, and another one is made', () => {
    const a = agent();
    const scenario = new Scenario([a]).ready();
    scenario.offer([a], true);
    a.free = a.free.filter(({ disk }) => disk?.source?.mount?.root !== '/mnt/b');
    scenario.masterUpdate(scenario.taskId(), 'TASK_DROPPED');
    scenario.pass(601);
    expect(scenario.disk().phase).to.equal('releasing');
    for (let second = 0; second < 90; second += 1) {
      scenario.tick(1000);
      scenario.offer();
    }
    expect(scenario.disks().map(({ sourceRoot }) => sourceRoot)).to.deep.equal(['/mnt/a']);
  });
});

describe('recovery: identity', () => {
  it('the same volumes under a new agent id: the same node, launched there', () => {
    const a = agent();
    const scenario = new Scenario([a]).ready().bringUp();
    const [task] = [...a.tasks.keys()];
    scenario.masterUpdate(task ?? '', 'TASK_UNREACHABLE');
    a.endExecutor('cistern-n1-0.1.0');
    a.agentId = 'agent-a-S9';
    scenario.tick(1000);
    scenario.offer();
    expect(scenario.state.facts.nodes.size).to.equal(1);
    expect(scenario.node().agentId).to.equal('agent-a-S9');
    expect(a.tasks.get(scenario.taskId())?.agent_id.value).to.equal('agent-a-S9');
    expect(scenario.eventKinds()).to.include('node.new-agent');
  });

  it('a new agent on the same host without our labels: another node', () => {
    const scenario = new Scenario([agent()]).ready().bringUp();
    const wiped = new ModelAgent('a', usualResources());
    wiped.agentId = 'agent-a-S9';
    scenario.offer([wiped]);
    expect(scenario.state.facts.nodes.size).to.equal(2);
  });

  it('volumes of ours that the store does not know: declined, never destroyed, operator told', () => {
    const a = agent();
    const reservations = [
      {
        type: 'DYNAMIC' as const,
        role: 'cistern',
        principal: 'cistern',
        labels: { labels: labels(CLUSTER_ID, 'n1', 'd9') },
      },
    ];
    const scenario = new Scenario([a]).ready().bringUp();
    const volume = { ...mount('/mnt/x', 250), reservations };
    a.free.push({
      ...volume,
      disk: {
        ...volume.disk,
        persistence: { id: 'cistern-x-d9', principal: 'cistern' },
        volume: { mode: 'RW', container_path: 'disk-d9' },
      },
    });
    const before = a.free.length;
    for (let second = 0; second < 30; second += 1) {
      scenario.tick(1000);
      scenario.offer();
    }
    expect(a.free).to.have.length(before);
    expect(scenario.eventKinds()).to.include('mesos.unknown-disk');
  });

  it('labels of an unknown node: nothing on that agent is touched', () => {
    const a = agent();
    a.free.push({
      ...mount('/mnt/x', 250),
      reservations: [
        { type: 'DYNAMIC', role: 'cistern', labels: { labels: labels(CLUSTER_ID, 'n7', 'd9') } },
      ],
    });
    const scenario = new Scenario([a]).ready();
    expect(typesOf(scenario.offer())).to.deep.equal(['DECLINE']);
    expect(scenario.eventKinds()).to.include('mesos.strange-labels');
    expect(scenario.disks()).to.have.length(0);
  });

  it('another cluster in the same role that an operator named: its resources are left alone', () => {
    const a = agent();
    a.free.push({
      ...mount('/mnt/x', 250),
      reservations: [
        { type: 'DYNAMIC', role: 'cistern', labels: { labels: labels('other', 'n1', 'd1') } },
      ],
    });
    const scenario = new Scenario([a], { claimPerNode: null, ignoredClusters: ['other'] }).ready();
    scenario.offer();
    expect(scenario.disks().map(({ sourceRoot }) => sourceRoot)).to.have.members([
      '/mnt/a',
      '/mnt/b',
      '/mnt/shared',
    ]);
  });

  it('a serving disk whose volume vanished: not made anew on the free disk', () => {
    const a = agent();
    const scenario = new Scenario([a]).ready().bringUp();
    const fresh = new ModelAgent('a', usualResources());
    scenario.masterUpdate(scenario.taskId(), 'TASK_GONE');
    scenario.tick(2000);
    fresh.agentId = a.agentId;
    scenario.state.facts.pools.update('default', { claimPerNode: 0 });
    expect(typesOf(scenario.offer([fresh]))).to.deep.equal(['DECLINE']);
    expect(scenario.disk().phase).to.equal('down');
  });
});

describe('recovery: giving back', () => {
  it('a releasing disk: killed, then destroyed and unreserved, then forgotten', () => {
    const a = agent();
    const scenario = new Scenario([a], { claimPerNode: 2 }).ready().bringUp();
    const taskId = scenario.taskId();
    scenario.state.facts.disks.update(scenario.disk().id, { phase: 'releasing' });
    scenario.state.facts.pools.update('default', { claimPerNode: 1 });
    expect(typesOf(scenario.tick())).to.deep.equal(['KILL']);
    expect(typesOf(scenario.offer()), 'its task still runs').to.deep.equal(['DECLINE']);
    expect(typesOf(scenario.pass(6)), 'asked again').to.include('KILL');
    a.endTask(taskId);
    scenario.update(taskId, 'TASK_KILLED');
    const [accept] = scenario.offer();
    expect(operationTypes(accept)).to.deep.equal(['DESTROY', 'UNRESERVE']);
    expect(scenario.disks(), 'remembered until it is certain').to.have.length(2);
    scenario.tick(3000);
    scenario.offer();
    expect(scenario.disks()).to.have.length(1);
    const held = a.free.filter(({ reservations }) => (reservations?.length ?? 0) > 0);
    expect(held).to.deep.equal([]);
  });

  it('its ACCEPT was lost: the volume is offered again and given back again', () => {
    const a = agent();
    const scenario = new Scenario([a]).ready().bringUp();
    const taskId = scenario.taskId();
    scenario.state.facts.disks.update(scenario.disk().id, { phase: 'releasing' });
    scenario.state.facts.pools.update('default', { claimPerNode: 0 });
    a.endTask(taskId);
    scenario.update(taskId, 'TASK_KILLED');
    scenario.offer([a], true);
    scenario.tick(3000);
    const [again] = scenario.offer();
    expect(operationTypes(again)).to.deep.equal(['DESTROY', 'UNRESERVE']);
    expect(scenario.disks()).to.have.length(1);
  });

  it('the last disk of a node: executor shut down, its cpus and memory unreserved', () => {
    const a = agent();
    const scenario = new Scenario([a]).ready().bringUp();
    const taskId = scenario.taskId();
    scenario.state.facts.disks.update(scenario.disk().id, { phase: 'releasing' });
    scenario.state.facts.nodes.update(scenario.node().id, { admin: 'drained' });
    a.endTask(taskId);
    scenario.update(taskId, 'TASK_KILLED');
    scenario.offer();
    scenario.tick(3000);
    scenario.offer();
    expect(scenario.disks()).to.have.length(0);
    const shutdown = scenario.tick().find(({ type }) => type === 'SHUTDOWN');
    expect(shutdown?.shutdown?.executor_id.value).to.equal('cistern-n1-0.1.0');
    a.endExecutor('cistern-n1-0.1.0');
    scenario.event({
      type: 'FAILURE',
      failure: { agent_id: { value: a.agentId }, executor_id: { value: 'cistern-n1-0.1.0' } },
    });
    expect(scenario.executorLife()).to.equal('dead');
    expect(operationTypes(scenario.offer()[0])).to.deep.equal(['UNRESERVE']);
    expect(a.free.every(({ reservations }) => (reservations?.length ?? 0) === 0)).to.equal(true);
    scenario.state.facts.pools.update('default', { claimPerNode: 0 });
    const late = scenario.pass(20);
    expect(typesOf(late)).to.include('SUPPRESS');
    expect(typesOf(late)).to.not.include('SHUTDOWN');
  });

  it('a releasing disk that a PG still names: kept until none does', () => {
    const a = agent();
    const scenario = new Scenario([a]).ready().bringUp();
    const disk = scenario.disk();
    scenario.state.facts.pools.update('default', { claimPerNode: 0 });
    scenario.state.facts.families.put({
      pool: 'default',
      replicas: 1,
      pgBase: 0,
      pgCount: 1,
      minInSync: 1,
    });
    scenario.state.facts.allocate('nextPg');
    createPg(scenario.state, pgId(0), [disk.id]);
    scenario.state.facts.disks.update(disk.id, { phase: 'releasing' });
    const taskId = scenario.taskId();
    a.endTask(taskId);
    scenario.update(taskId, 'TASK_KILLED');
    for (let second = 0; second < 60; second += 1) {
      scenario.tick(1000);
      expect(typesOf(scenario.offer())).to.deep.equal(['DECLINE']);
    }
  });

  it('a disk that an operator emptied: given back and not claimed again, unless newly registered', () => {
    const a = agent();
    const scenario = new Scenario([a], { claimPerNode: 2 }).ready().bringUp();
    const disk = scenario.disk();
    scenario.state.facts.disks.update(disk.id, { phase: 'releasing', isDraining: true });
    const taskId = scenario.taskId();
    a.endTask(taskId);
    scenario.update(taskId, 'TASK_KILLED');
    for (let second = 0; second < 20; second += 1) {
      scenario.tick(1000);
      scenario.offer();
    }
    const places = (): (string | null)[] => scenario.disks().map(({ sourceRoot }) => sourceRoot);
    expect(places()).to.deep.equal(['/mnt/a', '/mnt/shared']);
    scenario.state.facts.pools.update('default', { claimPerNode: 3 });
    scenario.offer();
    expect(places()).to.deep.equal(['/mnt/a', '/mnt/shared']);
    a.agentId = 'agent-a-S9';
    scenario.offer();
    expect(places()).to.deep.equal(['/mnt/a', '/mnt/shared', '/mnt/b']);
  });

  it('a node that is forgotten while it is up: all of it is given back, nothing claimed', () => {
    const a = agent();
    const scenario = new Scenario([a]).ready().bringUp();
    const taskId = scenario.taskId();
    scenario.state.facts.disks.update(scenario.disk().id, { phase: 'releasing' });
    scenario.state.facts.nodes.update(scenario.node().id, { admin: 'gone', removedAtVersion: 9 });
    expect(typesOf(scenario.tick())).to.deep.equal(['KILL']);
    a.endTask(taskId);
    scenario.update(taskId, 'TASK_KILLED');
    for (let second = 0; second < 10; second += 1) {
      const types = typesOf(scenario.tick(1000));
      if (types.includes('SHUTDOWN')) {
        a.endExecutor('cistern-n1-0.1.0');
        scenario.event({
          type: 'FAILURE',
          failure: { agent_id: { value: a.agentId }, executor_id: { value: 'cistern-n1-0.1.0' } },
        });
      }
      scenario.offer();
    }
    expect(scenario.disks()).to.deep.equal([]);
    expect(a.free.every(({ reservations }) => (reservations?.length ?? 0) === 0)).to.equal(true);
    expect(a.executors.size).to.equal(0);
  });

  it('failed disks and disks of a node that is gone: kept, whatever is offered', () => {
    const a = agent();
    const scenario = new Scenario([a], { claimPerNode: 2 }).ready().bringUp();
    scenario.state.facts.pools.update('default', { claimPerNode: 0 });
    scenario.state.facts.disks.update(scenario.disk(0).id, { phase: 'failed' });
    scenario.state.facts.disks.update(scenario.disk(1).id, { phase: 'lost' });
    for (const taskId of [...a.tasks.keys()]) {
      a.endTask(taskId);
      scenario.update(taskId, 'TASK_FAILED');
    }
    for (let second = 0; second < 20; second += 1) {
      scenario.tick(1000);
      expect(typesOf(scenario.offer())).to.deep.equal(['DECLINE']);
    }
  });
});

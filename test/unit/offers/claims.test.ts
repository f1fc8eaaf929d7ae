import { expect } from 'chai';
import type { Resource } from '../../../shared/mesos/messages.ts';
import { decodeTaskData } from '../../../shared/model/task-data.ts';
import { ModelAgent, mount, path, scalar, usualResources } from './agent-model.ts';
import { CLUSTER_ID, operationTypes, Scenario, typesOf } from './scenario.ts';

const agent = (name: string, resources = usualResources()): ModelAgent =>
  new ModelAgent(name, resources);

describe('offers: claims', () => {
  it('a new agent, one disk reserved, created and launched in one ACCEPT', () => {
    const scenario = new Scenario([agent('a')]).ready();
    const [accept] = scenario.offer();
    expect(operationTypes(accept)).to.deep.equal([
      'RESERVE',
      'RESERVE',
      'RESERVE',
      'CREATE',
      'LAUNCH',
    ]);
    const disk = scenario.disk();
    expect(disk.phase).to.equal('claiming');
    expect([disk.kind, disk.sourceRoot, disk.sizeBytes]).to.deep.equal([
      'mount',
      '/mnt/b',
      300 * 1024 * 1024,
    ]);
    const task = accept?.accept?.operations?.at(-1)?.launch?.task_infos?.[0];
    expect(task?.executor?.executor_id.value).to.equal('cistern-n1-0.1.0');
    expect(decodeTaskData(task?.data ?? Buffer.alloc(0))).to.deep.equal({
      format: 1,
      clusterId: CLUSTER_ID,
      node: 1,
      disk: 1,
      uuid: disk.uuid,
      containerPath: 'disk-d1',
      capacityBytes: disk.sizeBytes,
      controlAddress: '10.0.0.1:7400',
      term: 1,
    });
  });

  it('a disk with a fraction of a MiB: MOUNT taken whole, the store gets whole MiB', () => {
    const resources = [scalar('cpus', 1), scalar('mem', 512), mount('/mnt/a', 250.125)];
    const scenario = new Scenario([agent('a', resources)]).ready();
    const [accept] = scenario.offer();
    const volume = accept?.accept?.operations?.find(({ create }) => create)?.create?.volumes?.[0];
    expect(volume?.scalar?.value).to.equal(250.125);
    expect(scenario.disk().sizeBytes).to.equal(250 * 1024 * 1024);
  });

  it('cpus with three decimals, what is left adds up', () => {
    const a = agent('a', [scalar('cpus', 0.9), scalar('mem', 512), mount('/mnt/a', 250)]);
    new Scenario([a]).ready().offer();
    const free = a.free
      .filter(({ name }) => name === 'cpus')
      .map(({ scalar: left }) => left?.value);
    expect(free).to.deep.equal([0.3]);
  });

  it('PATH disks: carved in the configured size, root only when allowed', () => {
    const resources = (): Resource[] => [
      scalar('cpus', 4),
      scalar('mem', 2048),
      scalar('disk', 900),
      path('/mnt/p', 1000.5),
    ];
    const carved = new Scenario([agent('a', resources())], {
      claimPerNode: null,
      carveBytes: 400 * 1024 * 1024,
    }).ready();
    carved.offer();
    expect(carved.disks().map(({ kind, sizeBytes }) => [kind, sizeBytes / 1024 / 1024])).to.eql([
      ['path', 400],
    ]);
    const whole = new Scenario([agent('a', resources())], {
      claimPerNode: null,
      isRootDiskAllowed: true,
    }).ready();
    whole.offer();
    expect(whole.disks().map(({ kind, sizeBytes }) => [kind, sizeBytes / 1024 / 1024])).to.eql([
      ['path', 1000],
      ['root', 900],
    ]);
  });

  it('claimPerNode and claimNodes: no more than that, the rest is declined', () => {
    const agents = ['a', 'b', 'c'].map((name) => agent(name));
    const scenario = new Scenario(agents, { claimNodes: 2, claimPerNode: 2 }).ready();
    expect(typesOf(scenario.offer())).to.deep.equal(['ACCEPT', 'ACCEPT', 'DECLINE']);
    expect(scenario.disks()).to.have.length(4);
    expect(scenario.state.facts.nodes.size).to.equal(2);
  });

  it('too little memory: nothing claimed, the reason is kept', () => {
    const scenario = new Scenario([
      agent('a', [scalar('cpus', 4), scalar('mem', 100), mount('/mnt/a', 250)]),
    ]).ready();
    expect(typesOf(scenario.offer())).to.deep.equal(['DECLINE']);
    expect(scenario.state.mesos.passedOver.get('a')).to.match(/need 0.6 cpus and 288 MiB/);
    expect(scenario.state.facts.nodes.size).to.equal(0);
  });

  it('resources of others, revocable ones, tiny and raw disks: untouched', () => {
    const foreign = { type: 'DYNAMIC' as const, role: 'cistern', principal: 'other' };
    const scenario = new Scenario([
      agent('a', [
        scalar('cpus', 4),
        scalar('mem', 2048),
        { ...mount('/mnt/theirs', 250), reservations: [foreign] },
        { ...mount('/mnt/revocable', 250), revocable: {} },
        mount('/mnt/tiny', 63),
        scalar('disk', 250, { disk: { source: { type: 'RAW' } } }),
      ]),
    ]).ready();
    expect(typesOf(scenario.offer())).to.deep.equal(['DECLINE']);
    expect(scenario.disks()).to.have.length(0);
  });

  it('pool with tier and attributes: only agents that have them', () => {
    const [a, b, c] = [agent('a'), agent('b'), agent('c')];
    a.attributes = { tier: 'hdd', rack: 'r1' };
    b.attributes = { tier: 'ssd', rack: 'r2' };
    c.attributes = { tier: 'ssd', rack: 'r1' };
    const scenario = new Scenario([a, b, c]);
    scenario.state.facts.pools.update('default', { tier: 'ssd', attributes: { rack: 'r1' } });
    scenario.ready();
    expect(typesOf(scenario.offer()).toSorted()).to.deep.equal(['ACCEPT', 'DECLINE', 'DECLINE']);
    expect(scenario.node().hostname).to.equal('c');
    expect(scenario.disk().tier).to.equal('ssd');
  });

  it('an agent with maintenance ahead: no claim', () => {
    const a = agent('a');
    const scenario = new Scenario([a]).ready();
    const startMs = scenario.now.wallMs + 300_000;
    a.unavailability = { start: { nanoseconds: startMs * 1_000_000 } };
    expect(typesOf(scenario.offer())).to.deep.equal(['DECLINE']);
    a.unavailability = { start: { nanoseconds: (startMs + 86_400_000) * 1_000_000 } };
    expect(typesOf(scenario.offer())).to.deep.equal(['ACCEPT']);
  });

  it('a second disk on the node: same executor, its resources are not taken twice', () => {
    const a = agent('a');
    const scenario = new Scenario([a], { claimPerNode: 1 }).ready().bringUp();
    scenario.state.expansion.set('default', { diskCount: 1, reason: 'pool is 82 % full' });
    scenario.tick();
    const [accept] = scenario.offer();
    expect(operationTypes(accept)).to.deep.equal(['RESERVE', 'RESERVE', 'CREATE', 'LAUNCH']);
    const [first, second] = [...a.tasks.values()];
    expect(second?.executor).to.deep.equal(first?.executor);
    expect(scenario.state.expansion.get('default')?.diskCount).to.equal(0);
  });

  it('expansion: disks of own nodes first, a new node only after a while', () => {
    const [a, b] = [
      agent('a', [scalar('cpus', 4), scalar('mem', 2048), mount('/m', 250)]),
      agent('b'),
    ];
    const scenario = new Scenario([a, b], { claimNodes: 1 }).ready();
    scenario.offer([a]);
    scenario.update(scenario.taskId(), 'TASK_RUNNING');
    scenario.state.expansion.set('default', { diskCount: 1, reason: 'full' });
    scenario.tick();
    expect(typesOf(scenario.offer()), 'own node has none left').to.deep.equal([
      'DECLINE',
      'DECLINE',
    ]);
    scenario.pass(6);
    scenario.offer();
    expect(
      scenario.disks().map(({ node }) => scenario.state.facts.nodes.get(node).hostname),
    ).to.eql(['a', 'b']);
  });

  it('two offers of one agent at once: answered by one ACCEPT', () => {
    const a = agent('a');
    const scenario = new Scenario([a]).ready();
    const one = { ...a.offer(), resources: [scalar('cpus', 4)] };
    const two = { ...a.offer(), resources: [scalar('mem', 2048), mount('/mnt/a', 250)] };
    const calls = scenario.event({ type: 'OFFERS', offers: { offers: [one, two] } });
    expect(typesOf(calls)).to.deep.equal(['ACCEPT']);
    expect(calls[0]?.accept?.offer_ids).to.deep.equal([one.id, two.id]);
  });

  it('offers before reconciliation has ended: declined for a moment', () => {
    const scenario = new Scenario([agent('a')]);
    scenario.subscribe();
    scenario.state.mesos.isReconciled = false;
    const [decline] = scenario.offer();
    expect(decline?.decline?.filters?.refuse_seconds).to.equal(5);
    expect(scenario.disks()).to.have.length(0);
  });

  it('static reservation for a role above ours: refined, all of the stack kept', () => {
    const above = { type: 'STATIC' as const, role: 'storage' };
    const role = { allocation_info: { role: 'storage/cistern' } };
    const a = agent('a', [
      scalar('cpus', 4, role),
      scalar('mem', 2048, role),
      { ...mount('/mnt/a', 250), ...role, reservations: [above] },
    ]);
    const scenario = new Scenario([a], { role: 'storage/cistern' }).ready();
    scenario.offer();
    const [task] = [...a.tasks.values()];
    const volume = task?.resources?.find(({ name }) => name === 'disk');
    expect(volume?.reservations?.map(({ role: reserved }) => reserved)).to.deep.equal([
      'storage',
      'storage/cistern',
    ]);
  });

  it('an agent reserved as a whole for a role above ours: its cpus and memory are refined too', () => {
    const above = { type: 'STATIC' as const, role: 'storage' };
    const theirs = { allocation_info: { role: 'storage/cistern' }, reservations: [above] };
    const a = agent('a', [
      scalar('cpus', 4, theirs),
      scalar('mem', 2048, theirs),
      { ...mount('/mnt/a', 250), ...theirs },
      { ...mount('/mnt/b', 250), ...theirs },
    ]);
    const scenario = new Scenario([a], { role: 'storage/cistern', claimPerNode: 1 }).ready();
    scenario.bringUp();
    const stacks = () =>
      [...a.tasks.values()].flatMap((task) =>
        [...(task.resources ?? []), ...(task.executor?.resources ?? [])].map(({ reservations }) =>
          reservations?.map(({ role }) => role).join(' over '),
        ),
      );
    expect(new Set(stacks())).to.deep.equal(new Set(['storage over storage/cistern']));
    // A later manager, and a second disk on the running executor: the same shape.
    scenario.restart();
    scenario.subscribe();
    scenario.masterUpdate(scenario.taskId(), 'TASK_RUNNING');
    scenario.state.facts.pools.update('default', { claimPerNode: 2 });
    scenario.tick(1000);
    scenario.offer();
    expect(a.tasks.size).to.equal(2);
    expect(new Set(stacks())).to.deep.equal(new Set(['storage over storage/cistern']));
  });

  it('cpus that nobody has reserved are enough: taken before those of a role above ours', () => {
    const above = { type: 'STATIC' as const, role: 'storage' };
    const role = { allocation_info: { role: 'storage/cistern' } };
    const a = agent('a', [
      scalar('cpus', 4, { ...role, reservations: [above] }),
      scalar('mem', 2048, { ...role, reservations: [above] }),
      scalar('cpus', 2, role),
      scalar('mem', 1024, role),
      { ...mount('/mnt/a', 250), ...role, reservations: [above] },
    ]);
    new Scenario([a], { role: 'storage/cistern' }).ready().offer();
    const [task] = [...a.tasks.values()];
    const stacks = task?.executor?.resources?.map(({ reservations }) => reservations?.length);
    expect(stacks).to.deep.equal([1, 1]);
  });

  it('static reservation for our own role: left alone, the operator is told what to do', () => {
    const own = { type: 'STATIC' as const, role: 'cistern' };
    const scenario = new Scenario([
      agent('a', [
        scalar('cpus', 4),
        scalar('mem', 2048),
        { ...mount('/m', 250), reservations: [own] },
      ]),
    ]).ready();
    expect(typesOf(scenario.offer())).to.deep.equal(['DECLINE']);
    expect(scenario.eventKinds()).to.include('mesos.static-reservation');
  });
});

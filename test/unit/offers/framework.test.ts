import { expect } from 'chai';
import { changeMembers, createPg } from '../../../scheduler/core/members/members.ts';
import { mesosSubscription, renewFramework } from '../../../scheduler/core/mesos/framework.ts';
import { diskId, nodeId, pgId } from '../../../shared/base/ids.ts';
import { EMPTY_REPORT } from '../../../shared/model/node-report.ts';
import { decodeHint } from '../../../shared/model/task-data.ts';
import { ModelAgent, usualResources } from './agent-model.ts';
import { Scenario, typesOf } from './scenario.ts';

const agent = (name = 'a'): ModelAgent => new ModelAgent(name, usualResources());

describe('framework: subscription', () => {
  it('what it subscribes with: capabilities, checkpoint, open filters, all roles suppressed', () => {
    const { frameworkInfo, frameworkId, suppressedRoles } = mesosSubscription(
      new Scenario([]).state,
    );
    expect(frameworkInfo.capabilities?.map(({ type }) => type)).to.deep.equal([
      'PARTITION_AWARE',
      'MULTI_ROLE',
      'RESERVATION_REFINEMENT',
      'REGION_AWARE',
      'TASK_KILLING_STATE',
      'GPU_RESOURCES',
    ]);
    expect(frameworkInfo.checkpoint).to.equal(true);
    expect(frameworkInfo.failover_timeout).to.equal(2_419_200);
    expect(frameworkInfo.offer_filters).to.deep.equal({
      cistern: { min_allocatable_resources: { quantities: [] } },
    });
    expect(frameworkId).to.equal(null);
    expect(suppressedRoles).to.deep.equal(['cistern']);
  });

  it('first SUBSCRIBED: the framework id is a fact before any call, then REVIVE', () => {
    const scenario = new Scenario([]);
    scenario.subscribe();
    expect(scenario.look()).to.deep.equal([]);
    expect(scenario.state.facts.cluster.frameworkId).to.equal('fw-1');
    expect(typesOf(scenario.tick())).to.deep.equal(['REVIVE']);
  });

  it('another framework id than the known one: stop for good', () => {
    const scenario = new Scenario([]).ready();
    scenario.event({ type: 'SUBSCRIBED', subscribed: { framework_id: { value: 'fw-2' } } });
    expect(scenario.effects.at(-1)).to.include({ kind: 'abdicate', isPermanent: true });
  });

  const errors = [
    { message: 'Framework failed over', isPermanent: undefined, text: /Another scheduler/ },
    { message: 'Framework has been removed', isPermanent: true, text: /--new-framework-id/ },
    { message: 'Not authorized to use role cistern', isPermanent: true, text: /permissions/ },
  ];
  for (const { message, isPermanent, text } of errors) {
    it(`ERROR "${message}": abdicates with an explanation`, () => {
      const scenario = new Scenario([]).ready();
      scenario.event({ type: 'ERROR', error: { message } });
      const effect = scenario.effects.at(-1);
      if (effect?.kind !== 'abdicate') throw new Error('no abdication');
      expect(effect.isPermanent).to.equal(isPermanent);
      expect(effect.reason).to.match(text);
      expect(scenario.tick()).to.deep.equal([]);
    });
  }

  it('a new framework id is wished for by every scheduler that takes over: granted once, after the removal', () => {
    const scenario = new Scenario([]).ready();
    expect(renewFramework(scenario.state), 'it lives').to.equal(false);
    scenario.event({ type: 'ERROR', error: { message: 'Framework has been removed' } });
    scenario.restart();
    expect(renewFramework(scenario.state)).to.equal(true);
    expect(mesosSubscription(scenario.state).frameworkId).to.equal(null);
    scenario.event({ type: 'SUBSCRIBED', subscribed: { framework_id: { value: 'fw-2' } } });
    scenario.restart();
    expect(renewFramework(scenario.state), 'executors run under the new one').to.equal(false);
    expect(mesosSubscription(scenario.state).frameworkId).to.equal('fw-2');
  });

  it('after a failover: tasks are asked about and executors told, offers wait for the answers', () => {
    const a = agent();
    const scenario = new Scenario([a], { claimNodes: 1 }).ready().bringUp();
    scenario.restart();
    scenario.look();
    scenario.subscribe();
    const calls = scenario.look();
    expect(typesOf(calls)).to.deep.equal(['RECONCILE', 'MESSAGE']);
    expect(calls[0]?.reconcile?.tasks).to.deep.equal([
      { task_id: { value: scenario.taskId() }, agent_id: { value: a.agentId } },
    ]);
    expect(decodeHint(calls[1]?.message?.data ?? Buffer.alloc(0))).to.deep.equal({
      kind: 'control',
      address: '10.0.0.1:7400',
      term: 2,
    });
    expect(scenario.pass(3)).to.deep.equal([]);
    scenario.masterUpdate(scenario.taskId(), 'TASK_RUNNING', { reason: 'REASON_RECONCILIATION' });
    scenario.tick();
    expect(scenario.state.mesos.isReconciled).to.equal(true);
    expect(scenario.executorLife()).to.equal('running');
  });

  it('no answers (agents still away): asked again with growing waits, offers after a while', () => {
    const scenario = new Scenario([agent()]).ready().bringUp();
    scenario.restart();
    scenario.subscribe();
    scenario.look();
    const askedAt: number[] = [];
    let revivedAt = 0;
    for (let second = 1; second <= 120; second += 1) {
      const types = typesOf(scenario.tick(1000));
      if (types.includes('RECONCILE')) askedAt.push(second);
      if (types.includes('REVIVE') && revivedAt === 0) revivedAt = second;
    }
    expect(askedAt).to.deep.equal([8, 24, 56, 116]);
    expect(revivedAt).to.equal(15);
    expect(scenario.disk().taskAttempt, 'nothing launched without an answer').to.equal(1);
  });

  it('implicit reconciliation now and then', () => {
    const scenario = new Scenario([agent()], { claimNodes: 1 }).ready().bringUp();
    const calls = scenario.pass(1500);
    const implicit = calls.filter(({ reconcile }) => reconcile?.tasks?.length === 0);
    expect(implicit).to.have.length(2);
  });

  it('while disconnected: nothing is called', () => {
    const scenario = new Scenario([agent()]).ready().bringUp();
    scenario.disconnect();
    expect(scenario.pass(60)).to.deep.equal([]);
    expect(scenario.state.mesos.disconnectReason).to.equal('stream broke');
  });

  it('an executor asks where the manager is: told', () => {
    const scenario = new Scenario([agent()]).ready().bringUp();
    const message = {
      agent_id: { value: 'agent-a-S0' },
      executor_id: { value: 'cistern-n1-0.1.0' },
      data: Buffer.from('{"kind":"where"}'),
    };
    const [answer] = scenario.event({ type: 'MESSAGE', message });
    expect(answer?.message?.executor_id.value).to.equal('cistern-n1-0.1.0');
    for (const text of ['', '{', '[]', '{"kind":"other"}', 'x'.repeat(100_000)]) {
      const noise = { ...message, data: Buffer.from(text) };
      expect(scenario.event({ type: 'MESSAGE', message: noise })).to.deep.equal([]);
    }
  });
});

describe('framework: suppress and revive', () => {
  it('nothing wanted: declined for long and suppressed; new work: revived at once', () => {
    const scenario = new Scenario([agent()], { claimNodes: 1 }).ready().bringUp();
    const [decline] = scenario.offer();
    expect(decline?.decline?.filters?.refuse_seconds).to.equal(3600);
    expect(typesOf(scenario.pass(10))).to.deep.equal(['SUPPRESS']);
    scenario.state.expansion.set('default', { diskCount: 1, reason: 'full' });
    expect(typesOf(scenario.tick())).to.deep.equal(['REVIVE']);
  });

  it('an expansion that ended and is wanted again soon: revived as soon as allowed', () => {
    const scenario = new Scenario([agent()], { claimNodes: 1 }).ready().bringUp();
    scenario.pass(10);
    scenario.state.expansion.set('default', { diskCount: 1, reason: 'full' });
    expect(typesOf(scenario.tick())).to.deep.equal(['REVIVE']);
    scenario.state.expansion.delete('default');
    scenario.tick(1000);
    scenario.state.expansion.set('default', { diskCount: 1, reason: 'full again' });
    expect(typesOf(scenario.pass(5))).to.deep.equal(['REVIVE']);
  });

  it('a pool that may claim more: revived once, though offers were flowing', () => {
    const scenario = new Scenario([agent()], { claimPerNode: 1 }).ready().bringUp();
    expect(typesOf(scenario.pass(60))).not.to.include('REVIVE');
    scenario.state.facts.pools.update('default', { claimPerNode: 2 });
    expect(typesOf(scenario.tick())).to.deep.equal(['REVIVE']);
    expect(typesOf(scenario.pass(3600))).not.to.include('REVIVE');
  });

  it('a burst of work: no two REVIVEs within five seconds', () => {
    const agents = Array.from({ length: 6 }, (_, index) => agent(`h${index}`));
    const scenario = new Scenario(agents, { claimNodes: 6 }).ready().bringUp();
    const revivedAt: number[] = [];
    for (let step = 0; step < 240; step += 1) {
      const disk = scenario.disks()[Math.floor(step / 40)];
      if (step % 40 === 0 && disk?.taskId) scenario.update(disk.taskId, 'TASK_FAILED');
      if (typesOf(scenario.tick(250)).includes('REVIVE')) revivedAt.push(scenario.nowMs);
    }
    const gaps = revivedAt.slice(1).map((at, index) => at - (revivedAt[index] ?? 0));
    expect(revivedAt.length).to.be.greaterThan(2);
    expect(Math.min(...gaps)).to.be.at.least(5000);
  });

  it('wanted, but not from this agent: declined for two minutes', () => {
    const scenario = new Scenario([agent()]).ready().bringUp();
    const [decline] = scenario.offer();
    expect(decline?.decline?.filters?.refuse_seconds).to.equal(120);
  });
});

describe('framework: maintenance', () => {
  function cluster(): Scenario {
    const scenario = new Scenario([agent('a'), agent('b')]).ready().bringUp();
    const { facts } = scenario.state;
    facts.families.put({ pool: 'default', replicas: 2, pgBase: 0, pgCount: 1, minInSync: 1 });
    facts.allocate('nextPg');
    createPg(scenario.state, pgId(0), [diskId(1), diskId(2)]);
    for (const disk of scenario.disks()) facts.disks.update(disk.id, { phase: 'serving' });
    return scenario;
  }

  function setUp(scenario: Scenario, node: number): void {
    const observed = scenario.state.nodes.get(nodeId(node));
    if (observed === undefined) throw new Error('node is not observed');
    observed.session = `s${node}`;
    scenario.state.work.nodeOfSession.set(`s${node}`, nodeId(node));
    observed.report = { ...EMPTY_REPORT, mapVersion: 1 };
  }

  const inverse = (scenario: Scenario, index: number, id: string) => ({
    id: { value: id },
    framework_id: { value: 'fw-1' },
    agent_id: { value: scenario.agents[index]?.agentId ?? '' },
    unavailability: {
      start: { nanoseconds: '1900000000000000000' },
      duration: { nanoseconds: 3_600_000_000_000 },
    },
  });

  const ask = (scenario: Scenario, ...offers: ReturnType<typeof inverse>[]): string[] =>
    scenario
      .event({ type: 'INVERSE_OFFERS', inverse_offers: { inverse_offers: offers } })
      .map(({ type }) => type ?? '');

  it('replicas are there: declined with the reason, asked to come back soon; the window is kept', () => {
    const scenario = cluster();
    setUp(scenario, 2);
    const one = { inverse_offers: [inverse(scenario, 0, 'I1')] };
    const [decline] = scenario.event({ type: 'INVERSE_OFFERS', inverse_offers: one });
    expect(decline?.decline_inverse_offers?.filters?.refuse_seconds).to.equal(20);
    expect(scenario.node(0).unavailableFromMs).to.equal(1_900_000_000_000);
    expect(scenario.node(0).unavailableUntilMs).to.equal(1_900_003_600_000);
    const [message] = [...scenario.state.facts.events.values()]
      .filter(({ kind }) => kind === 'node.maintenance-declined')
      .map((event) => event.message);
    expect(message).to.match(/not yet: 1 replicas are there; they are moved away in good time/);
    expect(ask(scenario, inverse(scenario, 0, 'I2'))).to.eql(['DECLINE_INVERSE_OFFERS']);
    expect(
      scenario.eventKinds().filter((kind) => kind === 'node.maintenance-declined'),
    ).to.have.length(1);
  });

  it('the node is empty: accepted; a volume is attached there: declined; the window is over: accepted', () => {
    const scenario = cluster();
    changeMembers(scenario.state, pgId(0), { inSync: [diskId(2)], joining: [] });
    expect(ask(scenario, inverse(scenario, 0, 'I1'))).to.eql(['ACCEPT_INVERSE_OFFERS']);
    const { facts } = scenario.state;
    changeMembers(scenario.state, pgId(0), { inSync: [diskId(1), diskId(2)], joining: [] });
    expect(ask(scenario, inverse(scenario, 0, 'I2'))).to.eql(['DECLINE_INVERSE_OFFERS']);
    scenario.nowMs = 1_900_003_600_000 - 1_800_000_000_000;
    expect(ask(scenario, inverse(scenario, 0, 'I3'))).to.eql(['ACCEPT_INVERSE_OFFERS']);
    expect(facts.nodes.get(nodeId(1)).unavailableFromMs).to.equal(1_900_000_000_000);
  });

  it('rescinded: the window is forgotten', () => {
    const scenario = cluster();
    ask(scenario, inverse(scenario, 0, 'I1'));
    scenario.event({
      type: 'RESCIND_INVERSE_OFFER',
      rescind_inverse_offer: { inverse_offer_id: { value: 'I1' } },
    });
    expect(scenario.node(0).unavailableFromMs).to.equal(null);
  });

  it('for a node that we do not use: accepted', () => {
    const scenario = cluster();
    const offer = { ...inverse(scenario, 0, 'I1'), agent_id: { value: 'elsewhere' } };
    const calls = scenario.event({
      type: 'INVERSE_OFFERS',
      inverse_offers: { inverse_offers: [offer] },
    });
    expect(typesOf(calls)).to.deep.equal(['ACCEPT_INVERSE_OFFERS']);
  });
});

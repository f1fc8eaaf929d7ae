/**
 * Everything that may fail over, by number, and the tests that try it. Those that had no better place are here.
 *
 *  1 leader killed                        ha/failover: kill
 *  2 leader paused beyond its session     ha/failover: pause; unit/leadership; simulator: leadership-loss
 *  3 leader alone cut off from the store  ha/failover: cut-off
 *  4 store away for everybody             ha/failover: store away; unit/leadership: store away
 *  5 master fails over, offers out        here; mesos-client/scheduler: master restart, masters that do not lead
 *  6 all masters away for ten minutes     here; simulator: mesos-disconnect, failover-without-mesos
 *  7 half-open stream                     mesos-client/scheduler: half-open connection
 *  8 crash between two steps of a claim   unit/offers/recovery: claims that were cut off;
 *                                         unit/offers/task-life: the fact changes in the step …;
 *                                         mesos-client/scheduler: crash between commit and ACCEPT
 *  9 update again after its ack got lost  unit/offers/task-life: the same update again; mesos/misbehaviour
 * 10 store lost                           unit/offers/lost-store; unit/offers/recovery: volumes of ours that …
 *    framework removed, role not allowed  unit/offers/framework: ERROR …
 *    principal changed                    here
 * 11 agent restarts, reboots, is wiped    mesos-client/agents; mesos/agent-life; cluster/identity; unit/offers/identity
 * 12 node back after it was replaced      scenarios/manager/failures: comes back after its replicas moved;
 *                                         unit/offers/task-life: unreachable
 * 13 newer scheduler, running executors   here; unit/offers/task-life: upgrade
 * 14 failover_timeout is over             here; mesos/misbehaviour: failover_timeout over
 */
import { expect } from 'chai';
import type { TaskInfo } from '../../../shared/mesos/messages.ts';
import { type Shell, until, untilRunning, World } from '../../integration/mesos-client/harness.ts';
import { ModelAgent, usualResources } from '../../unit/offers/agent-model.ts';
import { Scenario } from '../../unit/offers/scenario.ts';

function serving(shell: Shell): string[] {
  return shell.disks.map(({ uuid }) => uuid);
}

describe('failover: masters', function () {
  this.timeout(180_000);
  let world: World;

  afterEach(async () => {
    await world.close();
  });

  it('5: another master leads while an ACCEPT is on its way: its offers are void, the same disk comes up', async () => {
    world = await World.start({ timeScale: 5 });
    const other = await world.mesos.addRedirectingMaster();
    await world.addAgent('a');
    let isLost = false;
    const shell = world.shell({
      masters: [world.mesos.masterUrl, other],
      onCall: ({ type }) => {
        if (type !== 'ACCEPT' || isLost) return;
        isLost = true;
        world.mesos.misbehave({ refuseCalls: true });
      },
    });
    await until('an ACCEPT that does not arrive', () => isLost);
    const [claimed] = serving(shell);
    const offersBefore = shell.events.flatMap(
      ({ offers }) => offers?.offers?.map(({ id }) => id.value) ?? [],
    );
    await world.mesos.failOverTo(other);
    world.mesos.misbehave({ refuseCalls: false });
    const callsBefore = shell.calls.length;
    await untilRunning(shell, 1);
    expect(serving(shell)).to.deep.equal([claimed]);
    const used = shell.calls
      .slice(callsBefore)
      .flatMap(({ accept, decline }) => (accept ?? decline)?.offer_ids ?? []);
    expect(used.length).to.be.greaterThan(0);
    for (const { value } of used) expect(offersBefore).not.to.include(value);
    expect(world.mesos.state().frameworks).to.have.length(1);
  });
});

describe('failover: frameworks', function () {
  this.timeout(180_000);
  let world: World;

  beforeEach(async () => {
    world = await World.start({ timeScale: 20 });
    await world.addAgent('a');
  });

  afterEach(async () => {
    await world.close();
  });

  it('10: another principal: refused for good, with what to check', async () => {
    const first = world.shell();
    await untilRunning(first, 1);
    first.close();
    const second = world.shell({
      store: new Map(first.store),
      term: 2,
      manager: { principal: 'somebody' },
    });
    await until('abdicated', () => second.abdications.length > 0);
    expect(second.abdications[0]).to.match(/principal "somebody"/);
    expect(world.mesos.state().tasks.map(({ state }) => state)).to.deep.equal(['TASK_RUNNING']);
  });

  it('14: failover_timeout is over: says so and how to go on; under a new id the same disk comes back', async () => {
    const first = world.shell({ manager: { failoverTimeoutSeconds: 20 } });
    await untilRunning(first, 1);
    first.close();
    await until('the framework is removed', () => world.mesos.state().frameworks.length === 0);
    const second = world.shell({ store: new Map(first.store), term: 2 });
    await until('abdicated', () => second.abdications.length > 0);
    expect(second.abdications[0]).to.match(/has removed framework .*--new-framework-id/);
    expect(serving(second)).to.deep.equal(serving(first));
    second.close();

    const third = world.shell({ store: new Map(second.store), term: 3, isNewFramework: true });
    await untilRunning(third, 1);
    expect(serving(third)).to.deep.equal(serving(first));
    expect(third.state.facts.cluster.frameworkId).not.to.equal(
      first.state.facts.cluster.frameworkId,
    );
  });
});

describe('failover: without Mesos', () => {
  it('6: all masters away for ten minutes: nothing is called, nothing ends, all goes on afterwards', () => {
    const scenario = new Scenario([
      new ModelAgent('a', usualResources()),
      new ModelAgent('b', usualResources()),
    ])
      .ready()
      .bringUp();
    const before = JSON.stringify(scenario.disks());
    scenario.disconnect();
    expect(scenario.pass(600)).to.deep.equal([]);
    expect(JSON.stringify(scenario.disks())).to.equal(before);
    scenario.subscribe();
    for (const disk of scenario.disks()) {
      scenario.masterUpdate(disk.taskId ?? '', 'TASK_RUNNING', {
        reason: 'REASON_RECONCILIATION',
      });
    }
    scenario.pass(60);
    scenario.offer();
    expect(JSON.stringify(scenario.disks())).to.equal(before);
  });

  it('13: a newer scheduler on another host: a running executor gets its tasks with the very same ExecutorInfo', () => {
    const a = new ModelAgent('a', usualResources());
    const artefact = (host: string, version: string) => ({
      version,
      command: `run ${version}`,
      uris: [{ value: `http://${host}:7400/executor/cistern-${version}.tar.gz`, sha256: 'x' }],
      environment: { FROM: host },
      cpus: 0.5,
      memoryMb: 256,
      taskCpus: 0.1,
      taskMemoryMb: 32,
    });
    const scenario = new Scenario([a], { executor: artefact('old', '1.0.0') }).ready().bringUp();
    const [first] = launched(scenario);
    scenario.restart({ executor: artefact('new', '1.1.0') });
    scenario.subscribe();
    scenario.masterUpdate(scenario.taskId(), 'TASK_RUNNING', { reason: 'REASON_RECONCILIATION' });
    scenario.tick();
    a.endTask(scenario.taskId());
    scenario.update(scenario.taskId(), 'TASK_FAILED');
    scenario.look();
    scenario.pass(10);
    scenario.offer();
    const [second] = launched(scenario);
    expect(second?.task_id).not.to.deep.equal(first?.task_id);
    expect(second?.executor).to.deep.equal(first?.executor);
    expect([...a.executors.keys()]).to.have.length(1);
  });
});

function launched(scenario: Scenario): TaskInfo[] {
  return scenario
    .look()
    .flatMap(({ accept }) => accept?.operations ?? [])
    .flatMap(({ launch }) => launch?.task_infos ?? []);
}

import { expect } from 'chai';
import type { Effect } from '../../../scheduler/core/contract.ts';
import {
  superviseUninstall,
  uninstall,
  uninstallView,
  whyUninstalled,
} from '../../../scheduler/core/planned/uninstall.ts';
import type { DiskId } from '../../../shared/base/ids.ts';
import { ModelAgent, mount, scalar, usualResources } from './agent-model.ts';
import { operationTypes, Scenario, typesOf } from './scenario.ts';

interface World {
  readonly scenario: Scenario;
  readonly a: ModelAgent;
}

function running(): World {
  const a = new ModelAgent('a', usualResources());
  const scenario = new Scenario([a]).ready().bringUp();
  scenario.state.facts.disks.update(scenario.disk().id, { phase: 'serving', isUnexamined: false });
  return { scenario, a };
}

function ask(scenario: Scenario, name = 'test', isForced = false): string {
  const command = { kind: 'uninstall', name, isForced } as const;
  const result = uninstall(scenario.state, command, scenario.now);
  return result.kind === 'failed' ? result.error.message : 'done';
}

/** A tick of the manager, as far as an uninstall goes. */
function look(scenario: Scenario, ms = 1_000): readonly Effect[] {
  const effects = superviseUninstall(scenario.state, scenario.now);
  scenario.tick(ms);
  return effects;
}

const reserved = (a: ModelAgent): number =>
  a.free.filter(({ reservations }) => (reservations ?? []).length > 0).length;

/** Its task and its executor have ended. */
function endAll({ scenario, a }: World): void {
  const taskId = scenario.taskId();
  a.endTask(taskId);
  scenario.update(taskId, 'TASK_KILLED');
  for (const executor of [...a.executors.keys()]) {
    a.endExecutor(executor);
    scenario.event({
      type: 'FAILURE',
      failure: { agent_id: { value: a.agentId }, executor_id: { value: executor }, status: 0 },
    });
  }
}

describe('uninstall: in offers', () => {
  it('the way: kill, destroy, unreserve, verify, tear down; Mesos removed it: it ends for good', () => {
    const world = running();
    const { scenario, a } = world;
    expect(ask(scenario)).to.equal('done');
    look(scenario);
    expect(typesOf(scenario.look())).to.include('KILL');
    expect(typesOf(scenario.offer()), 'its task may run').to.eql(['DECLINE']);
    endAll(world);
    look(scenario);
    expect(operationTypes(scenario.offer()[0])).to.eql(['DESTROY', 'UNRESERVE']);
    expect(reserved(a)).to.equal(0);
    look(scenario, 3_000);
    scenario.offer();
    expect(scenario.disks()).to.eql([]);
    expect(uninstallView(scenario.state).state, 'not yet verified').to.equal('releasing');
    const calls: (string | undefined)[] = [];
    for (let second = 0; second < 60 && calls.length === 0; second += 1) {
      const before = uninstallView(scenario.state).state;
      for (const effect of look(scenario)) {
        if (effect.kind === 'mesos-call') calls.push(effect.call.type);
      }
      if (calls.length > 0) expect(before, 'the phase is durable first').to.equal('tearing-down');
      if (second % 5 === 0) scenario.offer();
    }
    expect(calls).to.eql(['TEARDOWN']);
    scenario.event({ type: 'ERROR', error: { message: 'Framework has been removed' } });
    expect(scenario.effects.at(-1)).to.include({ kind: 'abdicate', isPermanent: true });
    expect(whyUninstalled(scenario.state)).to.match(/was uninstalled/);
    scenario.restart();
    expect(whyUninstalled(scenario.state), 'it is a fact').to.match(/was uninstalled/);
  });

  it('an agent is away: nothing is torn down', () => {
    const { scenario } = running();
    ask(scenario);
    scenario.masterUpdate(scenario.taskId(), 'TASK_UNREACHABLE');
    for (let minute = 0; minute < 30; minute += 1) look(scenario, 60_000);
    const { state, steps } = uninstallView(scenario.state);
    expect(state).to.equal('releasing');
    expect(steps.find(({ name }) => name === 'disks')?.detail).to.match(
      /out of sight of Mesos: n1/,
    );
  });

  it('reservations and a volume that no record names: the first go back, the volume stays and is named', () => {
    const world = running();
    const { scenario, a } = world;
    const labels = (disk: string) => ({
      labels: [
        { key: 'cistern.cluster', value: scenario.state.facts.cluster.clusterId },
        { key: 'cistern.node', value: 'n1' },
        { key: 'cistern.disk', value: disk },
        { key: 'cistern.intent', value: 'task' },
      ],
    });
    const reservation = (disk: string) => ({
      type: 'DYNAMIC' as const,
      role: 'cistern',
      principal: 'cistern',
      labels: labels(disk),
    });
    a.free.push(scalar('cpus', 1, { reservations: [reservation('d77')] }));
    const lost = mount('/mnt/lost', 100);
    a.free.push({
      ...lost,
      reservations: [reservation('d78')],
      disk: { ...lost.disk, persistence: { id: 'lost', principal: 'cistern' } },
    });
    ask(scenario);
    endAll(world);
    look(scenario);
    scenario.offer();
    expect(reserved(a), 'only the lost volume').to.equal(1);
    expect(scenario.eventKinds()).to.include('mesos.unknown-disk');
    for (let minute = 0; minute < 5; minute += 1) {
      look(scenario, 60_000);
      scenario.offer();
    }
    expect(uninstallView(scenario.state).state).to.equal('releasing');
  });

  it('another name, data of others in a disk: refused, also by force', () => {
    const { scenario } = running();
    expect(ask(scenario, 'prod', true)).to.match(/this is cluster "test", not "prod"/);
    scenario.state.facts.disks.update(1 as DiskId, {
      foreign: { kind: 'unknown-files', found: 'photos' },
    });
    expect(ask(scenario, 'test', true)).to.match(
      /d1 cannot be given back: .*files that are not ours/,
    );
    expect(uninstallView(scenario.state).blockers.join()).to.match(/photos/);
  });
});

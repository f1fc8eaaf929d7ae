/** GROW_VOLUME: which disk, in which order of steps, and what becomes of attempts that are cut off. */
import { expect } from 'chai';
import {
  GROW_AFTER_MS,
  GROW_MS_MAX,
  isGrowing,
  superviseGrowth,
} from '../../../scheduler/core/capacity/growth.ts';
import { MiB } from '../../../shared/base/units.ts';
import { ModelAgent, mount, path, scalar } from './agent-model.ts';
import { operationTypes, Scenario, typesOf } from './scenario.ts';

/** One agent with a PATH disk of which `claimed` MiB are ours and the rest is free. */
function grownAgent(disk = path('/mnt/p', 500)): { scenario: Scenario; agent: ModelAgent } {
  const agent = new ModelAgent('a', [scalar('cpus', 4), scalar('mem', 2048), disk]);
  const scenario = new Scenario([agent], { claimPerNode: 1 }).ready().bringUp();
  const id = scenario.disk().id;
  scenario.state.facts.disks.update(id, { phase: 'serving' });
  scenario.state.work.diskUses.set(id, 'serving');
  return { scenario, agent };
}

function addSpace(agent: ModelAgent, mib: number): void {
  agent.free.push(path('/mnt/p', mib));
}

/** The pool wants more, and has looked around for long enough. */
function wish(scenario: Scenario): void {
  scenario.state.expansion.set('default', { diskCount: 1, reason: 'pool "default" is 81 % used' });
  scenario.tick();
  scenario.offer();
  scenario.pass(GROW_AFTER_MS / 1000 + 1);
  superviseGrowth(scenario.state, scenario.now);
}

describe('growth: a PATH disk', () => {
  it('growth: space beside our disk, no second store is made there but the disk grows', () => {
    const { scenario, agent } = grownAgent();
    addSpace(agent, 300);
    wish(scenario);
    expect(scenario.disks()).to.have.length(1);
    expect(isGrowing(scenario.disk())).to.equal(true);
    expect(typesOf(scenario.tick())).to.include('KILL');
    const taskId = scenario.taskId();
    agent.endTask(taskId);
    scenario.update(taskId, 'TASK_KILLED');
    const [accept] = scenario.offer();
    expect(operationTypes(accept)).to.deep.equal(['RESERVE', 'GROW_VOLUME']);
    const { volume, addition } = accept?.accept?.operations?.[1]?.grow_volume ?? {};
    expect(volume?.scalar?.value).to.equal(500);
    expect(addition?.scalar?.value).to.equal(300);
    expect(addition?.reservations).to.deep.equal(volume?.reservations);
    const [relaunch] = scenario.offer();
    expect(operationTypes(relaunch)).to.include('LAUNCH');
    expect(scenario.disk().sizeBytes).to.equal(800 * MiB);
    expect(isGrowing(scenario.disk())).to.equal(false);
    const [task] = relaunch?.accept?.operations?.at(-1)?.launch?.task_infos ?? [];
    expect(task?.data?.toString()).to.contain(`"capacityBytes":${800 * MiB}`);
    expect(scenario.eventKinds()).to.include.members(['disk.growing', 'disk.grown']);
    expect(scenario.eventKinds()).not.to.include('disk.down');
  });

  it('growth: RESERVE was carried out and GROW_VOLUME not, the reserved space is used next', () => {
    const { scenario, agent } = grownAgent();
    addSpace(agent, 300);
    wish(scenario);
    scenario.tick();
    agent.endTask(scenario.taskId());
    scenario.update(scenario.taskId(), 'TASK_KILLED');
    const [cutOff] = scenario.offer([agent], true);
    agent.apply((cutOff?.accept?.operations ?? []).slice(0, 1));
    const [again] = scenario.offer();
    expect(operationTypes(again)).to.deep.equal(['GROW_VOLUME']);
    scenario.offer();
    expect(scenario.disk().sizeBytes).to.equal(800 * MiB);
  });

  it('growth: a new manager goes on with it', () => {
    const { scenario, agent } = grownAgent();
    addSpace(agent, 300);
    wish(scenario);
    scenario.tick();
    scenario.restart();
    scenario.subscribe();
    agent.endTask(scenario.taskId());
    scenario.update(scenario.taskId(), 'TASK_KILLED', { source: 'SOURCE_MASTER', uuid: undefined });
    scenario.tick();
    expect(operationTypes(scenario.offer()[0])).to.deep.equal(['RESERVE', 'GROW_VOLUME']);
    scenario.offer();
    expect(scenario.disk().sizeBytes).to.equal(800 * MiB);
  });

  it('growth: the volume stays as it was, it is given up and started again', () => {
    const { scenario, agent } = grownAgent();
    addSpace(agent, 300);
    wish(scenario);
    scenario.tick();
    agent.endTask(scenario.taskId());
    scenario.update(scenario.taskId(), 'TASK_KILLED');
    for (let round = 0; round < 10; round += 1) scenario.offer([agent], true);
    expect(operationTypes(scenario.offer()[0])).to.include('LAUNCH');
    expect(scenario.eventKinds()).to.include('disk.not-grown');
    expect(scenario.disk().sizeBytes).to.equal(500 * MiB);
    superviseGrowth(scenario.state, scenario.now);
    expect(isGrowing(scenario.disk()), 'not again at once').to.equal(false);
  });

  it('growth: it takes too long, it is given up', () => {
    const { scenario, agent } = grownAgent();
    addSpace(agent, 300);
    wish(scenario);
    scenario.pass(GROW_MS_MAX / 1000);
    superviseGrowth(scenario.state, scenario.now);
    expect(isGrowing(scenario.disk())).to.equal(false);
    expect(scenario.eventKinds()).to.include('disk.not-grown');
  });

  it('growth: unclaimed disks come first, MOUNT disks never grow, slivers are left', () => {
    const first = grownAgent();
    addSpace(first.agent, 300);
    first.agent.free.push(mount('/mnt/new', 250));
    wish(first.scenario);
    expect(first.scenario.disks(), 'the new disk was claimed').to.have.length(2);
    expect(first.scenario.disks().some(isGrowing)).to.equal(false);

    const second = grownAgent(mount('/mnt/m', 500));
    second.agent.free.push(mount('/mnt/m', 300));
    second.scenario.state.facts.pools.update('default', { diskCountMax: 1 });
    wish(second.scenario);
    expect(second.scenario.disks().some(isGrowing)).to.equal(false);

    const third = grownAgent();
    addSpace(third.agent, 63);
    wish(third.scenario);
    expect(third.scenario.disks().some(isGrowing)).to.equal(false);
  });
});

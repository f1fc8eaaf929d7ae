// Who a node and a disk are, after reboots, wiped work directories and moved disks (MESOS 3.5).
import { expect } from 'chai';
import { describeForeign } from '../../../scheduler/core/disks/foreign-data.ts';
import { createPg } from '../../../scheduler/core/members/members.ts';
import { superviseAdoption } from '../../../scheduler/core/nodes/adoption.ts';
import { forgetNode } from '../../../scheduler/core/nodes/node-forget.ts';
import { observedNode } from '../../../scheduler/core/nodes/node-life.ts';
import type { DiskRecord } from '../../../scheduler/core/records.ts';
import { type DiskId, diskId, pgId } from '../../../shared/base/ids.ts';
import { decodeTaskData } from '../../../shared/model/task-data.ts';
import { ModelAgent, mount, scalar } from './agent-model.ts';
import { Scenario } from './scenario.ts';

const agent = (name: string, ...roots: readonly string[]): ModelAgent =>
  new ModelAgent(name, [
    scalar('cpus', 4),
    scalar('mem', 2048),
    ...roots.map((root) => mount(root, 300)),
  ]);

const find = (scenario: Scenario, id: number): DiskRecord | undefined =>
  scenario.state.facts.disks.find(diskId(id));

/** Its executor found the store of `owner` in the directory of `claim`, and its task has ended. */
function foundStore(scenario: Scenario, claim: number, owner: number, uuid: string): void {
  const id = diskId(claim);
  const taskId = find(scenario, claim)?.taskId ?? '';
  scenario.state.facts.disks.update(id, {
    phase: 'failed',
    foreign: { kind: 'other-disk', found: `disk d${owner}`, disk: owner, uuid },
  });
  for (const each of scenario.agents) if (each.tasks.has(taskId)) each.endTask(taskId);
  scenario.update(taskId, 'TASK_FAILED', { agent_id: { value: 'agent-b-S0' } });
  scenario.pass(2);
}

function adoptIn(scenario: Scenario): void {
  superviseAdoption(scenario.state, scenario.now);
}

/** One placement group, whose only member is d1. */
function addGroup(scenario: Scenario): void {
  const { facts } = scenario.state;
  facts.families.put({ pool: 'default', replicas: 1, pgBase: 0, pgCount: 1, minInSync: 1 });
  facts.updateCluster({ nextPg: 1 });
  createPg(scenario.state, pgId(0), [diskId(1)]);
}

/** d1 on agent a serves; agent b shows a free disk, which is claimed as d2. */
function moved(): { scenario: Scenario; a: ModelAgent; b: ModelAgent } {
  const [a, b] = [agent('a', '/mnt/a'), agent('b', '/mnt/b')];
  const scenario = new Scenario([a, b]).ready();
  scenario.offer([a]);
  scenario.update(scenario.taskId(), 'TASK_RUNNING');
  scenario.state.facts.disks.update(diskId(1), { phase: 'down' });
  addGroup(scenario);
  scenario.offer([b]);
  expect(find(scenario, 2)?.sourceRoot).to.equal('/mnt/b');
  return { scenario, a, b };
}

describe('identity of disks', () => {
  it("found on another agent while its own node is dead: goes on there, under the claim's labels", () => {
    const { scenario, b } = moved();
    const uuid = find(scenario, 1)?.uuid ?? '';
    observedNode(scenario.state, scenario.node().id).executor = 'dead';
    foundStore(scenario, 2, 1, uuid);
    adoptIn(scenario);
    expect(find(scenario, 2)).to.equal(undefined);
    expect(find(scenario, 1)).to.deep.include({
      node: 2,
      sourceRoot: '/mnt/b',
      phase: 'down',
      uuid,
    });
    expect(scenario.state.facts.pgs.get(pgId(0)).inSync).to.deep.equal([1]);
    scenario.pass(2);
    scenario.offer([b]);
    const [task] = [...b.tasks.values()];
    const data = decodeTaskData(task?.data ?? Buffer.alloc(0));
    expect([data.disk, data.uuid, data.node]).to.deep.equal([1, uuid, 2]);
    expect(data.containerPath, 'the volume is the one that the claim made').to.equal('disk-d2');
    expect(scenario.eventKinds()).to.include('disk.adopted').and.not.include('mesos.unknown-disk');
  });

  it('after a failover it is still known by the labels of the claim', () => {
    const { scenario, b } = moved();
    observedNode(scenario.state, scenario.node().id).executor = 'dead';
    foundStore(scenario, 2, 1, find(scenario, 1)?.uuid ?? '');
    adoptIn(scenario);
    scenario.pass(2);
    scenario.restart();
    scenario.ready();
    scenario.offer([b]);
    expect(
      [...b.tasks.values()].map(({ data }) => decodeTaskData(data ?? Buffer.alloc(0)).disk),
    ).to.eql([1]);
    expect(scenario.eventKinds()).to.not.include('mesos.unknown-disk');
  });

  it('the agent of the claim began anew as well: nobody hears of its task, the disk goes on', () => {
    const { scenario, b } = moved();
    const uuid = find(scenario, 1)?.uuid ?? '';
    observedNode(scenario.state, scenario.node().id).executor = 'dead';
    scenario.state.facts.disks.update(diskId(2), {
      phase: 'failed',
      foreign: { kind: 'other-disk', found: 'disk d1', disk: 1, uuid },
    });
    const taskId = find(scenario, 2)?.taskId ?? '';
    scenario.masterUpdate(taskId, 'TASK_LOST', { reason: 'REASON_AGENT_REMOVED' });
    adoptIn(scenario);
    expect(find(scenario, 2)?.phase, 'the agent may come back with it').to.equal('failed');
    b.endExecutor('cistern-n2-0.1.0');
    b.agentId = 'agent-b-S9';
    scenario.pass(2);
    scenario.offer([b]);
    adoptIn(scenario);
    expect(find(scenario, 1)).to.deep.include({ node: 2, sourceRoot: '/mnt/b', uuid });
  });

  it('its own node may still serve it: nothing moves until that is certain', () => {
    const { scenario } = moved();
    foundStore(scenario, 2, 1, find(scenario, 1)?.uuid ?? '');
    adoptIn(scenario);
    expect([find(scenario, 1)?.node, find(scenario, 2)?.phase]).to.deep.equal([1, 'failed']);
    const claim = find(scenario, 2);
    expect(claim && describeForeign(scenario.state, claim), 'nobody is told to empty it')
      .to.match(/d1 goes on here .*"cistern node forget n1"$/)
      .and.not.contain('by hand');
    scenario.state.facts.disks.update(diskId(1), { phase: 'serving' });
    observedNode(scenario.state, scenario.node().id).executor = 'dead';
    adoptIn(scenario);
    expect(find(scenario, 1)?.node, 'a disk that serves').to.equal(1);
  });

  it('its old node is forgotten: what was found elsewhere goes on there and is not lost', () => {
    const { scenario, a } = moved();
    const old = scenario.node().id;
    foundStore(scenario, 2, 1, find(scenario, 1)?.uuid ?? '');
    const result = forgetNode(scenario.state, old, scenario.now);
    expect(result.kind).to.equal('done');
    expect(find(scenario, 1)).to.deep.include({ node: 2, sourceRoot: '/mnt/b', phase: 'down' });
    expect(find(scenario, 2)).to.equal(undefined);
    expect(scenario.state.facts.pgs.get(pgId(0)).inSync, 'the last copy').to.deep.equal([1]);
    expect(scenario.eventKinds()).to.include.members(['disk.adopted', 'node.forgotten']);
    expect(a.tasks.size, 'nothing of the old node is touched').to.equal(1);
  });

  it('its old node is forgotten before the claim has let go: refused, and nothing is lost', () => {
    const { scenario, b } = moved();
    scenario.update(find(scenario, 2)?.taskId ?? '', 'TASK_RUNNING', {
      agent_id: { value: b.agentId },
    });
    const uuid = find(scenario, 1)?.uuid ?? '';
    const foreign = { kind: 'other-disk', found: 'disk d1', disk: 1, uuid } as const;
    scenario.state.facts.disks.update(diskId(2), { phase: 'failed', foreign });
    const result = forgetNode(scenario.state, scenario.node().id, scenario.now);
    expect(result.kind === 'failed' ? result.error.message : result.kind).to.match(
      /^Cannot forget n1.* yet: the data of d1 was found on n2 .* once the task of d2 has ended$/,
    );
    expect(find(scenario, 1)).to.deep.include({ node: 1, phase: 'down' });
    expect(scenario.node().admin).to.equal('active');
  });

  it('another uuid under the same number: nobody of ours, left alone', () => {
    const { scenario } = moved();
    observedNode(scenario.state, scenario.node().id).executor = 'dead';
    foundStore(scenario, 2, 1, 'some-other-uuid');
    adoptIn(scenario);
    expect([find(scenario, 1)?.node, find(scenario, 2)?.phase]).to.deep.equal([1, 'failed']);
  });

  it('the claim has its task yet: the volume is in use, so it waits', () => {
    const { scenario, b } = moved();
    observedNode(scenario.state, scenario.node().id).executor = 'dead';
    scenario.update(find(scenario, 2)?.taskId ?? '', 'TASK_RUNNING', {
      agent_id: { value: b.agentId },
    });
    const foreign = {
      kind: 'other-disk',
      found: 'd1',
      disk: 1,
      uuid: find(scenario, 1)?.uuid ?? '',
    } as const;
    scenario.state.facts.disks.update(diskId(2), { phase: 'failed', foreign });
    adoptIn(scenario);
    expect(find(scenario, 1)?.node).to.equal(1);
  });

  it('a store that was given up long ago: discarded once everything is whole, and not before', () => {
    const [b] = [agent('b', '/mnt/b', '/mnt/c')];
    const scenario = new Scenario([b], { claimPerNode: 2 }).ready().bringUp();
    const { facts } = scenario.state;
    facts.updateCluster({ nextDisk: 10 });
    addGroup(scenario);
    foundStore(scenario, 2, 7, 'uuid-of-d7');
    adoptIn(scenario);
    expect(find(scenario, 2)?.phase, 'd1 does not serve').to.equal('failed');
    facts.disks.update(diskId(1) as DiskId, { phase: 'serving' });
    adoptIn(scenario);
    expect(find(scenario, 2)?.phase).to.equal('releasing');
    scenario.offer();
    expect(scenario.eventKinds()).to.include('disk.discarded');
  });
});

describe('identity of nodes', () => {
  it('reboot with the same agent id: launched on its own volume, nothing else claimed', () => {
    const a = agent('a', '/mnt/a');
    const scenario = new Scenario([a]).ready().bringUp();
    a.endExecutor('cistern-n1-0.1.0');
    scenario.update(scenario.taskId(), 'TASK_FAILED', { reason: 'REASON_EXECUTOR_TERMINATED' });
    scenario.pass(5);
    scenario.offer();
    expect(scenario.disks()).to.have.length(1);
    expect([scenario.taskId(), a.tasks.has(scenario.taskId())]).to.deep.equal([
      'cistern-1f2e3d4c-d1-2',
      true,
    ]);
    expect(scenario.node().agentId).to.equal('agent-a-S0');
  });

  it('a new agent id with our labels: the same node; what the old id runs is ended when it shows', () => {
    const a = agent('a', '/mnt/a');
    const scenario = new Scenario([a]).ready().bringUp();
    const old = scenario.taskId();
    scenario.masterUpdate(old, 'TASK_LOST', { reason: 'REASON_AGENT_REMOVED' });
    a.endExecutor('cistern-n1-0.1.0');
    a.agentId = 'agent-a-S7';
    scenario.pass(2);
    scenario.offer();
    expect(scenario.state.facts.nodes.size).to.equal(1);
    expect(a.tasks.get(scenario.taskId())?.agent_id.value).to.equal('agent-a-S7');
    scenario.look();
    const calls = scenario.masterUpdate(old, 'TASK_RUNNING', { agent_id: { value: 'agent-a-S0' } });
    expect(calls.map(({ kill }) => kill?.task_id.value)).to.deep.equal([old]);
  });

  it('forgotten, and back with its labels: nothing of it is used, nothing is destroyed', () => {
    const a = agent('a', '/mnt/a');
    const scenario = new Scenario([a]).ready().bringUp();
    scenario.state.facts.nodes.update(scenario.node().id, { admin: 'gone' });
    scenario.state.facts.disks.update(diskId(1), { phase: 'lost' });
    a.endExecutor('cistern-n1-0.1.0');
    scenario.update(scenario.taskId(), 'TASK_GONE');
    scenario.pass(2);
    const volumes = (): unknown => a.free.filter(({ disk }) => disk?.persistence !== undefined);
    const before = volumes();
    expect(before).to.have.length(1);
    scenario.offer();
    expect(volumes()).to.deep.equal(before);
    expect(a.tasks.size).to.equal(0);
  });
});

describe('data of others', () => {
  it('a MOUNT disk that nobody has looked into: not destroyed, brought up to be looked at', () => {
    const a = agent('a', '/mnt/a');
    const scenario = new Scenario([a]).ready();
    scenario.offer();
    scenario.update(scenario.taskId(), 'TASK_FAILED', { reason: 'REASON_CONTAINER_LAUNCH_FAILED' });
    a.endExecutor('cistern-n1-0.1.0');
    scenario.state.facts.disks.update(diskId(1), { phase: 'releasing' });
    scenario.pass(5);
    const [accept] = scenario.offer();
    expect(accept?.accept?.operations?.map(({ type }) => type) ?? []).to.not.include('DESTROY');
    expect(scenario.disk()).to.deep.include({ phase: 'down', isDraining: true });
    scenario.pass(5);
    scenario.offer();
    scenario.update(scenario.taskId(), 'TASK_RUNNING');
    expect(scenario.disk().isUnexamined).to.equal(false);
  });

  it('foreign data was found: the volume stays, whatever asks for its release', () => {
    const a = agent('a', '/mnt/a');
    const scenario = new Scenario([a]).ready().bringUp();
    const foreign = { kind: 'unknown-files', found: 'letters.txt' } as const;
    a.endExecutor('cistern-n1-0.1.0');
    scenario.update(scenario.taskId(), 'TASK_FAILED');
    scenario.state.facts.disks.update(diskId(1), { phase: 'releasing', foreign });
    scenario.pass(5);
    scenario.offer();
    scenario.pass(60);
    scenario.offer();
    expect(scenario.disk().phase).to.equal('failed');
    expect(a.free.some(({ disk }) => disk?.persistence !== undefined)).to.equal(true);
    expect(scenario.eventKinds()).to.include('disk.kept');
  });
});

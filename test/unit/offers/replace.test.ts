import { expect } from 'chai';
import { replaceDisk } from '../../../scheduler/core/planned/disk-replace.ts';
import type { DiskId } from '../../../shared/base/ids.ts';
import { ModelAgent, usualResources } from './agent-model.ts';
import { Scenario, typesOf } from './scenario.ts';

/** One agent whose pool wants one disk of it, and has it: `/mnt/b`. */
function running(): Scenario {
  const a = new ModelAgent('a', usualResources());
  const scenario = new Scenario([a], { claimPerNode: 1 }).ready().bringUp();
  scenario.state.facts.disks.update(scenario.disk().id, { phase: 'serving', isUnexamined: false });
  scenario.offer();
  expect(scenario.disks(), 'the pool has what it wants').to.have.length(1);
  return scenario;
}

function replace(scenario: Scenario, place: string | null): void {
  const command = { kind: 'replace-disk', disk: 1 as DiskId, place } as const;
  const result = replaceDisk(scenario.state, command, scenario.now);
  if (result.kind === 'failed') throw result.error;
}

describe('offers: a disk is replaced', () => {
  it('offers are asked for, and the best free disk of the node is claimed, beyond the bounds of the pool', () => {
    const scenario = running();
    replace(scenario, null);
    expect(typesOf(scenario.pass(6))).to.include('REVIVE');
    scenario.offer();
    const [old, next] = scenario.disks();
    expect(next?.sourceRoot).to.equal('/mnt/a');
    expect([next?.pool, next?.phase]).to.eql([old?.pool, 'claiming']);
    expect(old?.replacement?.by).to.equal(next?.id);
    expect(scenario.eventKinds()).to.include('disk.claimed');
    scenario.offer();
    expect(scenario.disks(), 'one for one').to.have.length(2);
  });

  it('by a named place: another free disk is left alone', () => {
    const scenario = running();
    replace(scenario, '/mnt/shared');
    scenario.offer();
    expect(scenario.disks().map(({ sourceRoot }) => sourceRoot)).to.eql(['/mnt/b', '/mnt/shared']);
    const other = running();
    replace(other, '/mnt/nowhere');
    other.offer();
    expect(other.disks()).to.have.length(1);
  });

  it('another node offers a disk: not taken for it', () => {
    const scenario = running();
    const b = new ModelAgent('b', usualResources());
    replace(scenario, null);
    scenario.state.facts.pools.update('default', { claimNodes: 1 });
    expect(scenario.offer([b]).map(({ type }) => type)).to.eql(['DECLINE']);
  });

  it('a new manager: it is still wanted', () => {
    const scenario = running();
    replace(scenario, null);
    scenario.tick();
    scenario.restart();
    scenario.ready();
    scenario.update(scenario.taskId(), 'TASK_RUNNING');
    scenario.tick(10_000);
    scenario.offer();
    expect(scenario.disk().replacement?.by).to.equal(2);
  });
});

import { expect } from 'chai';
import type { SeenDisk } from '../../../scheduler/core/pools/pass-reason.ts';
import type { PoolRecord } from '../../../scheduler/core/records.ts';
import { MiB } from '../../../shared/base/units.ts';
import { ANY_DISK, type PoolSelector } from '../../../shared/model/pool-selector.ts';
import { ModelAgent, mount, path, scalar, usualResources } from './agent-model.ts';
import { Scenario, typesOf } from './scenario.ts';

const agent = (name: string, resources = usualResources()): ModelAgent =>
  new ModelAgent(name, resources);

function addPool(
  scenario: Scenario,
  name: string,
  selector: Partial<PoolSelector>,
  more: Partial<PoolRecord> = {},
): void {
  const { pools } = scenario.state.facts;
  pools.put({
    ...pools.get('default'),
    name,
    priority: 100,
    claimPerNode: null,
    claimNodes: null,
    selector: { ...ANY_DISK, ...selector },
    ...more,
  });
}

function seen(scenario: Scenario, name: string): readonly SeenDisk[] {
  return scenario.state.mesos.seenAgents.get(`agent-${name}-S0`)?.disks ?? [];
}

/** `/mnt/a size fast`: what was passed over, why, and by which pool. */
function reasons(scenario: Scenario, name: string): string[] {
  return seen(scenario, name).flatMap((disk) =>
    disk.reasons.map(({ kind, pool }) => `${disk.root ?? 'root'} ${kind} ${pool ?? '-'}`),
  );
}

describe('offers: pools', () => {
  it('two pools on one agent: each disk goes to the pool that selects it', () => {
    const scenario = new Scenario([agent('a')]);
    addPool(scenario, 'big', { kinds: ['mount'], sizeMinBytes: 300 * MiB });
    addPool(scenario, 'shared', { kinds: ['path'], shareRatioMax: 0.5 });
    scenario.ready().offer();
    expect(
      scenario
        .disks()
        .map(({ pool, sourceRoot, sizeBytes }) => [pool, sourceRoot, sizeBytes / MiB]),
    ).to.deep.equal([
      ['big', '/mnt/b', 300],
      ['default', '/mnt/a', 250],
      ['shared', '/mnt/shared', 500],
    ]);
    expect(reasons(scenario, 'a')).to.include('root root-without-consent default');
  });

  it('every pool that looked at a disk says why it passed it over', () => {
    const a = agent('a', [scalar('cpus', 4), scalar('mem', 2048), mount('/mnt/a', 250)]);
    a.attributes = { rack: 'r1', tier: 'hdd' };
    const scenario = new Scenario([a], { claimNodes: 0 });
    addPool(scenario, 'size', { sizeMinBytes: 251 * MiB });
    addPool(scenario, 'path', { paths: ['/data/*'] });
    addPool(scenario, 'tier', { tiers: ['ssd'] });
    addPool(scenario, 'attribute', { attributes: { rack: 'r2' } });
    addPool(scenario, 'kind', { kinds: ['path'] });
    addPool(scenario, 'nodes', { nodesMax: 0 });
    expect(typesOf(scenario.ready().offer())).to.deep.equal(['DECLINE']);
    expect(reasons(scenario, 'a').toSorted()).to.deep.equal([
      '/mnt/a attribute attribute',
      '/mnt/a kind kind',
      '/mnt/a node-count-reached nodes',
      '/mnt/a nothing-wanted default',
      '/mnt/a path path',
      '/mnt/a size size',
      '/mnt/a tier tier',
    ]);
  });

  it('a share of a PATH disk is reached: an expansion gets no more of it', () => {
    const a = agent('a', [scalar('cpus', 4), scalar('mem', 2048), path('/mnt/p', 1000)]);
    const scenario = new Scenario([a], { claimNodes: 0 });
    addPool(scenario, 'shared', { shareRatioMax: 0.4 });
    scenario.ready().bringUp();
    expect(scenario.disk().sizeBytes).to.equal(400 * MiB);
    scenario.state.expansion.set('shared', { diskCount: 1, reason: 'more' });
    scenario.pass(10);
    scenario.offer();
    expect(scenario.disks()).to.have.length(1);
    expect(reasons(scenario, 'a')).to.include('/mnt/p share-reached shared');
  });

  it('disks per node at most: bounds an expansion as well', () => {
    const scenario = new Scenario([agent('a')], { claimNodes: 0 });
    addPool(scenario, 'one', { disksPerNodeMax: 1 });
    scenario.ready().bringUp();
    scenario.state.expansion.set('one', { diskCount: 2, reason: 'more' });
    scenario.pass(10);
    scenario.offer();
    expect(scenario.disks()).to.have.length(1);
    expect(reasons(scenario, 'a')).to.include('/mnt/a disks-per-node-reached one');
  });

  it('what others reserved, and what is left for lack of memory: said disk by disk', () => {
    const foreign = { type: 'DYNAMIC' as const, role: 'cistern', principal: 'other' };
    const resources = [
      scalar('cpus', 4),
      scalar('mem', 300),
      { ...mount('/mnt/theirs', 250), reservations: [foreign] },
      mount('/mnt/a', 250),
      mount('/mnt/b', 251),
    ];
    const scenario = new Scenario([agent('a', resources)], { claimPerNode: null }).ready();
    scenario.offer();
    expect(reasons(scenario, 'a')).to.deep.equal([
      '/mnt/theirs role -',
      '/mnt/a resources default',
    ]);
    expect(seen(scenario, 'a').map(({ disk }) => disk)).to.deep.equal([null, null, 1]);
  });

  it('an agent of which nothing is taken: why, until its next offer', () => {
    const a = agent('a');
    const scenario = new Scenario([a]).ready().bringUp();
    scenario.state.facts.nodes.update(scenario.node().id, { admin: 'draining' });
    scenario.offer();
    const look = (): string | undefined =>
      scenario.state.mesos.seenAgents.get(a.agentId)?.reason?.kind;
    expect(look()).to.equal('node-not-active');
    scenario.state.facts.nodes.update(scenario.node().id, { admin: 'active' });
    scenario.offer();
    expect(look()).to.equal(undefined);
    a.unavailability = { start: { nanoseconds: scenario.now.wallMs * 1e6 } };
    scenario.offer();
    expect(look()).to.equal('maintenance');
  });

  it('a pool whose selector changed: offers are asked for again', () => {
    const scenario = new Scenario([agent('a')]).ready();
    addPool(scenario, 'later', { kinds: ['path'], nodesMax: 0 });
    scenario.offer();
    scenario.pass(6);
    scenario.look();
    addPool(scenario, 'later', { kinds: ['path'] });
    scenario.pass(6);
    expect(typesOf(scenario.look())).to.include('REVIVE');
  });
});

/** What a recovery makes of what executors and disks say, and what it refuses. */
import { expect } from 'chai';
import { type Choices, type Decision, decideRecovery } from '../../../recovery/decision.ts';
import type { KnownMap, Witness } from '../../../recovery/witness.ts';
import { Facts } from '../../../scheduler/core/facts.ts';
import { diskId, nodeId, pgId, volumeId } from '../../../shared/base/ids.ts';
import type { ClusterMap, MapPg } from '../../../shared/model/cluster-map.ts';
import type { DiskMemory } from '../../../shared/model/recall.ts';

const CAUTIOUS: Choices = { acceptedMissing: [], isDoubtAccepted: false, nowMs: 5_000 };
const PG = pgId(0);

interface Shape {
  readonly term?: number;
  readonly version?: number;
  readonly pg?: Partial<MapPg>;
  readonly volumeName?: string;
}

/** Three nodes with one disk each, one PG on d1 and d2, one volume. */
function known(shape: Shape = {}): KnownMap {
  const ids = [1, 2, 3];
  const pg = { epoch: 5, inSync: [diskId(1), diskId(2)], joining: [], target: [diskId(1)] };
  const map: ClusterMap = {
    clusterId: 'c',
    term: shape.term ?? 4,
    version: shape.version ?? 70,
    nodes: ids.map((id) => ({
      id: nodeId(id),
      hostname: `host${id}`,
      zone: null,
      dataAddress: null,
      grantAddress: `host${id}:7300`,
      isFenced: false,
    })),
    disks: ids.map((id) => ({ id: diskId(id), node: nodeId(id), uuid: `uuid-${id}` })),
    pgs: [{ id: PG, minInSync: 1, ...pg, ...shape.pg }],
    volumes: [],
    nextVolume: 3,
  };
  const volume = { id: volumeId(1), name: shape.volumeName ?? 'v', generation: 6, attachedTo: 1 };
  const facts = new Map([
    ['cluster', JSON.stringify(CLUSTER)],
    ['family/default/2', JSON.stringify({ pool: 'default', replicas: 2, pgBase: 0, pgCount: 1 })],
    ['volume/1', JSON.stringify({ ...volume, isDetaching: false, phase: 'ready' })],
  ]);
  return { map, facts, writtenAtMs: 1_000 };
}

const CLUSTER = {
  clusterId: 'c',
  name: 'simulated',
  frameworkId: 'f-1',
  nextNode: 4,
  nextDisk: 4,
  nextVolume: 3,
  nextPg: 1,
  nextJob: 9,
  nextEvent: 90,
  mapVersion: 70,
  votersSettledVersion: 0,
  createdAtMs: 0,
};

function witness(id: number, map: KnownMap | null, memory: Partial<DiskMemory> = {}): Witness {
  const disk = { id: diskId(id), uuid: `uuid-${id}`, epochs: [], generations: [], volumes: [1] };
  return {
    source: `executor host${id}`,
    clusterId: map?.map.clusterId ?? 'c',
    node: nodeId(id),
    known: map,
    disks: [{ ...disk, ...memory }],
  };
}

function all(
  map: KnownMap,
  memories: Readonly<Record<number, Partial<DiskMemory>>> = {},
): Witness[] {
  return [1, 2, 3].map((id) => witness(id, map, memories[id]));
}

function refusalsOf(decision: Decision): string {
  return decision.kind === 'refused' ? decision.refusals.map(({ what }) => what).join('; ') : '';
}

function factsOf(decision: Decision): Facts {
  if (decision.kind === 'refused') throw new Error(refusalsOf(decision));
  const facts = Facts.load(decision.entries);
  if (facts === null) throw new Error('no facts');
  return facts;
}

describe('recovery: decision', () => {
  it('all say the same: the facts of the map, with a higher term and version', () => {
    const decision = decideRecovery(all(known()), CAUTIOUS);
    const facts = factsOf(decision);
    expect(decision).to.deep.include({ clusterId: 'c', frameworkId: 'f-1', missingNodes: [] });
    expect(decision).to.have.property('term').above(4);
    expect(facts.cluster.mapVersion).to.be.above(70);
    expect(facts.pgs.get(PG)).to.deep.include({ epoch: 1005, inSync: [1, 2], joining: [] });
    expect(facts.volumes.get(volumeId(1))).to.deep.include({ generation: 6, attachedTo: 1 });
  });

  it('executors with different versions: the newest wins, whoever has it', () => {
    const old = known({ version: 60, pg: { epoch: 3 } });
    const witnesses = [witness(1, old), witness(2, known()), witness(3, null)];
    expect(factsOf(decideRecovery(witnesses, CAUTIOUS)).pgs.get(PG).epoch).to.equal(1005);
  });

  it('what the cluster records without a new map differs, with who said hello when: no two contents', () => {
    const later = (fields: object): KnownMap => {
      const map = known();
      const facts = new Map(map.facts).set('cluster', JSON.stringify({ ...CLUSTER, ...fields }));
      return { ...map, facts, writtenAtMs: 2_000 };
    };
    const brake = { sinceMs: 1, reason: 'three of seven nodes are away', isReleased: false };
    for (const fields of [{ brake }, { upgrade: { phase: 'paused' } }, { uninstall: null }]) {
      const witnesses = [witness(1, known()), witness(2, later(fields)), witness(3, known())];
      expect(factsOf(decideRecovery(witnesses, CAUTIOUS)).cluster).to.deep.include(fields);
    }
  });

  it('two clusters, two histories, two contents, nothing at all: refused with the reason', () => {
    const other = witness(3, null);
    const foreign = { ...other, clusterId: 'd' };
    const cases: readonly (readonly [Witness[], RegExp])[] = [
      [[witness(1, known()), foreign], /2 different clusters/],
      [
        [witness(1, known({ term: 5, version: 60 })), witness(2, known({ version: 70 })), other],
        /Two histories/,
      ],
      [
        [witness(1, known()), witness(2, known({ volumeName: 'w' })), other],
        /Map 70 has two contents/,
      ],
      [[other], /None of 1 sources remembers a map/],
    ];
    for (const [witnesses, reason] of cases) {
      expect(refusalsOf(decideRecovery(witnesses, CAUTIOUS))).to.match(reason);
    }
  });

  it('a node is missing: refused by name; accepted when the operator says so', () => {
    const witnesses = [witness(1, known()), witness(3, known())];
    expect(refusalsOf(decideRecovery(witnesses, CAUTIOUS))).to.match(/No answer from n2 \(host2\)/);
    const accepted = { ...CAUTIOUS, acceptedMissing: [nodeId(2)] };
    const facts = factsOf(decideRecovery(witnesses, accepted));
    expect(facts.pgs.get(PG).epoch).to.be.above(900);
    expect(facts.pgs.get(PG).inSync).to.deep.equal([1, 2]);
  });

  it('one change was missed: the in-sync disk that adopted it stays, the other joins again', () => {
    const witnesses = all(known(), { 1: { epochs: [[0, 6]] }, 2: { epochs: [[0, 5]] } });
    const pg = factsOf(decideRecovery(witnesses, CAUTIOUS)).pgs.get(PG);
    expect(pg).to.deep.include({ epoch: 1006, inSync: [1], joining: [] });
  });

  it('two changes were missed, or only a stranger knows: refused; accepted, the likeliest stay', () => {
    const twice = all(known(), { 1: { epochs: [[0, 6]] }, 2: { epochs: [[0, 7]] } });
    const stranger = all(known(), { 3: { epochs: [[0, 6]] } });
    for (const witnesses of [twice, stranger]) {
      expect(refusalsOf(decideRecovery(witnesses, CAUTIOUS))).to.match(/pg0 \(map has epoch 5/);
    }
    const facts = factsOf(decideRecovery(twice, { ...CAUTIOUS, isDoubtAccepted: true }));
    expect(facts.pgs.get(PG)).to.deep.include({ epoch: 1007, inSync: [2] });
  });

  it('a disk of the same number and another identity: what it adopted says nothing', () => {
    const witnesses = all(known(), { 3: { uuid: 'another', epochs: [[0, 99]] } });
    expect(factsOf(decideRecovery(witnesses, CAUTIOUS)).pgs.get(PG).epoch).to.equal(1005);
  });

  it('a volume newer than the map has data: refused, since it would be deleted', () => {
    const witnesses = all(known(), { 2: { volumes: [1, 3] } });
    expect(refusalsOf(decideRecovery(witnesses, CAUTIOUS))).to.match(/data of v3, newer/);
    const facts = factsOf(decideRecovery(witnesses, { ...CAUTIOUS, isDoubtAccepted: true }));
    expect(facts.cluster.nextVolume).to.be.at.least(4);
  });

  it('a generation above the map: kept, and the volume is attached to nobody', () => {
    const witnesses = all(known(), { 2: { generations: [[1, 8]] } });
    const volume = factsOf(decideRecovery(witnesses, CAUTIOUS)).volumes.get(volumeId(1));
    expect(volume).to.deep.include({ generation: 8, attachedTo: null });
  });
});

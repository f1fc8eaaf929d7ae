import { expect } from 'chai';
import type { Command } from '../../../scheduler/core/contract.ts';
import { buildMap } from '../../../scheduler/core/map.ts';
import type { DiskId, JobId, NodeId, VolumeId } from '../../../shared/base/ids.ts';
import { GiB, VOLUME_BYTES_MAX } from '../../../shared/base/units.ts';
import { SimulatedCluster } from '../../scenarios/manager/simulated-cluster.ts';

type Create = Extract<Command, { kind: 'create-volume' }>;
type PoolChanges = Extract<Command, { kind: 'update-pool' }>['changes'];

function boot(): SimulatedCluster {
  const cluster = new SimulatedCluster();
  for (let index = 0; index < 3; index += 1) cluster.addNode();
  cluster.run(3000);
  cluster.createVolume('taken');
  return cluster;
}

const VALID: Create = {
  kind: 'create-volume',
  name: 'new',
  sizeBytes: GiB,
  replicas: null,
  pool: null,
};

describe('commands: create-volume', () => {
  const refused: readonly [string, Partial<Create>, RegExp][] = [
    ['empty name', { name: '' }, /^invalid-argument: Field "name" is ""/],
    ['upper case', { name: 'Data' }, /^invalid-argument: Field "name"/],
    ['leading dot', { name: '.data' }, /^invalid-argument: Field "name"/],
    ['64 characters', { name: 'a'.repeat(64) }, /^invalid-argument: Field "name"/],
    ['line break', { name: 'a\n' }, /^invalid-argument: Field "name"/],
    ['name in use', { name: 'taken' }, /^already-exists: Volume "taken" exists already: v1$/],
    ['no size', { sizeBytes: 0 }, /^invalid-argument: Field "sizeBytes" is 0/],
    ['size not of whole blocks', { sizeBytes: 4097 }, /^invalid-argument: Field "sizeBytes"/],
    ['size not a number', { sizeBytes: Number.NaN }, /^invalid-argument: Field "sizeBytes"/],
    [
      'size beyond the limit',
      { sizeBytes: VOLUME_BYTES_MAX + 4096 },
      /^invalid-argument: Field "sizeBytes"/,
    ],
    ['no replicas', { replicas: 0 }, /^invalid-argument: Field "replicas" is 0, allowed: 1 to 5$/],
    ['six replicas', { replicas: 6 }, /^invalid-argument: Field "replicas"/],
    [
      'more replicas than nodes',
      { replicas: 4 },
      /^unavailable: Cannot place 4 replicas in pool "default": 3 nodes/,
    ],
    [
      'unknown durability',
      { durability: 'maybe' as 'flush' },
      /^invalid-argument: Field "durability" is "maybe", allowed: flush or writethrough$/,
    ],
    [
      'unknown pool',
      { pool: 'fast' },
      /^invalid-argument: Field "pool" is "fast", allowed: one of "default"$/,
    ],
  ];
  for (const [name, fields, expected] of refused) {
    it(`commands: create-volume with ${name}, refused`, () => {
      const cluster = boot();
      expect(cluster.refusal({ ...VALID, ...fields })).to.match(expected);
      expect(cluster.state.facts.volumes.size).to.equal(1);
    });
  }

  const accepted: readonly [string, Partial<Create>][] = [
    ['one block', { sizeBytes: 4096 }],
    ['63 characters', { name: `0${'-'.repeat(62)}` }],
    ['as many replicas as nodes', { replicas: 3 }],
    ['the default pool by name', { pool: 'default' }],
  ];
  for (const [name, fields] of accepted) {
    it(`commands: create-volume with ${name}, done`, () => {
      expect(boot().must({ ...VALID, ...fields })).to.equal(2);
    });
  }

  it('commands: volumes of one family, their extents begin at different PGs', () => {
    const cluster = boot();
    const offsets = new Set<number>();
    for (let index = 0; index < 20; index += 1) cluster.createVolume(`v${index}`);
    for (const volume of cluster.state.facts.volumes.values()) {
      offsets.add(volume.pgOffset);
      expect(volume.pgOffset).to.be.within(0, 63);
      expect(volume.pgStride).to.be.within(1, 63);
    }
    expect(offsets.size).to.be.above(15);
  });

  it('commands: the name of a deleted volume is free at once, its number is not used again', () => {
    const cluster = boot();
    cluster.must({ kind: 'delete-volume', volume: 1 as VolumeId, isForced: false });
    expect(cluster.createVolume('taken')).to.equal(2);
  });
});

describe('commands: update-volume', () => {
  const volume = 1 as VolumeId;

  it('commands: update-volume of durability, in the map and in an event', () => {
    const cluster = boot();
    expect([...cluster.state.facts.volumes.values()][0]?.durability).to.equal('flush');
    cluster.must({ kind: 'update-volume', volume, changes: { durability: 'writethrough' } });
    expect(buildMap(cluster.state.facts, 1).volumes[0]?.durability).to.equal('writethrough');
    const messages = [...cluster.state.facts.events.values()].map((event) => event.message);
    expect(messages.at(-1)).to.contain('durability is writethrough now');
  });

  it('commands: update-volume of an unknown volume or to an unknown word, refused', () => {
    const cluster = boot();
    const changes = { durability: 'maybe' as 'flush' };
    expect(cluster.refusal({ kind: 'update-volume', volume, changes })).to.match(/"durability"/);
    const unknown = { kind: 'update-volume', volume: 9 as VolumeId, changes: {} } as const;
    expect(cluster.refusal(unknown)).to.equal('not-found: There is no volume v9');
  });
});

describe('commands: things that are not there', () => {
  const commands: readonly Command[] = [
    { kind: 'delete-volume', volume: 9 as VolumeId, isForced: false },
    { kind: 'attach-volume', volume: 9 as VolumeId, node: null, isForced: false },
    { kind: 'attach-volume', volume: 1 as VolumeId, node: 9 as NodeId, isForced: false },
    { kind: 'detach-volume', volume: 9 as VolumeId, isForced: false },
    { kind: 'drain-node', node: 9 as NodeId },
    { kind: 'activate-node', node: 9 as NodeId },
    { kind: 'forget-node', node: 9 as NodeId },
    { kind: 'drain-disk', disk: 9 as DiskId },
    { kind: 'activate-disk', disk: 9 as DiskId },
    { kind: 'cancel-job', job: 9 as JobId },
    { kind: 'update-pool', pool: 'fast', changes: {} },
  ];
  for (const command of commands) {
    it(`commands: ${command.kind} of something unknown, not found`, () => {
      expect(boot().refusal(command)).to.match(/^not-found: There is no /);
    });
  }
});

describe('commands: attach and detach again', () => {
  it('commands: attach where it is attached, done without a new generation', () => {
    const cluster = boot();
    const volume = 1 as VolumeId;
    cluster.must({ kind: 'attach-volume', volume, node: 1 as NodeId, isForced: false });
    cluster.must({ kind: 'attach-volume', volume, node: 1 as NodeId, isForced: false });
    cluster.must({ kind: 'attach-volume', volume, node: null, isForced: false });
    expect(cluster.state.facts.volumes.get(volume).generation).to.equal(1);
  });

  it('commands: attach anywhere, volumes spread over the nodes', () => {
    const cluster = boot();
    for (const name of ['a', 'b', 'c']) {
      const volume = cluster.createVolume(name);
      cluster.must({ kind: 'attach-volume', volume, node: null, isForced: false });
    }
    const nodes = [...cluster.state.facts.volumes.values()].slice(1).map((each) => each.attachedTo);
    expect(nodes).to.have.members([1, 2, 3]);
  });

  it('commands: attach to a node that is down, refused', () => {
    const cluster = boot();
    cluster.kill(2 as NodeId);
    cluster.run(4000);
    expect(
      cluster.refusal({
        kind: 'attach-volume',
        volume: 1 as VolumeId,
        node: 2 as NodeId,
        isForced: true,
      }),
    ).to.equal('unavailable: Cannot attach the volume to n2 (host2): the node is not up');
  });

  it('commands: detach what is not attached, done', () => {
    expect(boot().must({ kind: 'detach-volume', volume: 1 as VolumeId, isForced: false })).to.equal(
      1,
    );
  });
});

describe('commands: update-pool', () => {
  const refused: readonly [PoolChanges, RegExp][] = [
    [{ expandAtRatio: 0 }, /"expandAtRatio" is 0, allowed: 0.01 to 0.99/],
    [{ expandAtRatio: 0.97 }, /"expandAtRatio" is 0.97, allowed: below fullAtRatio, 0.95/],
    [{ fullAtRatio: 1.5 }, /"fullAtRatio" is 1.5/],
    [{ diskCountMax: -1 }, /"diskCountMax" is -1/],
    [{ claimPerNode: 1.5 }, /"claimPerNode" is 1.5/],
    [{ expandCooldownMs: Number.NaN }, /"expandCooldownMs"/],
  ];
  for (const [changes, expected] of refused) {
    it(`commands: update-pool ${JSON.stringify(changes)}, refused`, () => {
      const cluster = boot();
      const before = cluster.state.facts.pools.get('default');
      expect(cluster.refusal({ kind: 'update-pool', pool: 'default', changes })).to.match(expected);
      expect(cluster.state.facts.pools.get('default')).to.equal(before);
    });
  }

  it('commands: update-pool, only what is named changes', () => {
    const cluster = boot();
    const before = cluster.state.facts.pools.get('default');
    cluster.must({ kind: 'update-pool', pool: 'default', changes: { diskCountMax: 7 } });
    expect(cluster.state.facts.pools.get('default')).to.deep.equal({ ...before, diskCountMax: 7 });
  });
});

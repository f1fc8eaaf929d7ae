/**
 * A data plane that gets any map: damaged, and still one that decodes. A manager that was wrong must not end
 * the process that serves the disks; a right map afterwards is taken as if nothing had been.
 */
import { join } from 'node:path';
import { expect } from 'chai';
import protobuf from 'protobufjs';
import { nodeId } from '../../../shared/base/ids.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { EXTENT_BYTES, MiB } from '../../../shared/base/units.ts';
import type { ClusterMap, MapPg } from '../../../shared/model/cluster-map.ts';
import { loadControlCodec } from '../../../shared/node/control-codec.ts';
import { submit, TestCluster } from '../../scenarios/data-plane/test-cluster.ts';
import { PROJECT_ROOT } from '../../tidy/source-tree.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { decodeOrRefuse } from './fuzz-target.ts';
import { perturb } from './protobuf-grammar.ts';

const PROTO = join(PROJECT_ROOT, 'proto');

export async function mapTarget(): Promise<FuzzTarget> {
  const codec = loadControlCodec(PROTO);
  const { map } = await boot();
  const encode = (change: Partial<ClusterMap>): Buffer =>
    codec.encodeManagerMessage({ kind: 'map', map: { ...map, version: 50, ...change } });
  const joining = map.pgs.map((pg): MapPg => {
    const [first, ...others] = pg.inSync;
    return { ...pg, epoch: 2, inSync: others, joining: first === undefined ? [] : [first] };
  });
  const root = protobuf.loadSync(join(PROTO, 'cistern', 'control.proto')).resolveAll();
  const type = root.lookupType('cistern.control.ManagerMessage');
  const corpus = [{}, { pgs: joining }, { volumes: [] }, { disks: [] }].map(encode);
  return {
    name: 'map',
    corpus,
    generate: (prng: Prng) => perturb(type, prng.pick(corpus), prng),
    generatedShare: 0.9,
    truncations: 20,
    memoryBytesMax: 256 * MiB,
    run: async (input) => {
      const message = decodeOrRefuse(() => codec.decodeManagerMessage(input));
      if (message?.kind !== 'map') return;
      const cluster = await boot();
      const device = cluster.device(0);
      // Whether it is ever answered is the map's business.
      void submit(device, 'write', 0, 4096, { data: Buffer.alloc(4096, 1) });
      const { plane } = cluster.node(0);
      plane.applyMap(message.map, nodeId(1));
      void submit(device, 'write', EXTENT_BYTES, 4096, { data: Buffer.alloc(4096, 2) });
      void submit(device, 'read', 0, 8192);
      await cluster.clock.runFor(1000);
      const { mapVersion } = plane.report();
      if (!Number.isSafeInteger(mapVersion + 1)) return;
      const version = mapVersion + 1;
      const { clusterId } = cluster.map;
      const term = Math.max(message.map.term, cluster.map.term);
      const isTaken = plane.applyMap({ ...cluster.map, term, version }, nodeId(1));
      expect(isTaken || message.map.clusterId !== clusterId, 'the right map').to.equal(true);
      await cluster.clock.runFor(200);
    },
  };
}

async function boot(): Promise<TestCluster> {
  const cluster = new TestCluster(`map ${new Prng(1).u32()}`);
  await cluster.start({ nodes: 2, pgs: [[0, 1], [1]], sizeBytes: 2 * EXTENT_BYTES, attachedTo: 0 });
  return cluster;
}

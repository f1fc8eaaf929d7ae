/**
 * The manager, told anything by a node: reports and hellos whose bytes decode, with figures and ids of nobody.
 * It takes them or refuses them, goes on, and keeps its own invariants (the simulated cluster checks those).
 */
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { checkInvariants } from '../../../scheduler/core/invariants.ts';
import { present } from '../../../shared/base/assert.ts';
import type { NodeId } from '../../../shared/base/ids.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import { MiB } from '../../../shared/base/units.ts';
import { loadControlCodec } from '../../../shared/node/control-codec.ts';
import { SimulatedCluster } from '../../scenarios/manager/simulated-cluster.ts';
import { PROJECT_ROOT } from '../../tidy/source-tree.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { decodeOrRefuse } from './fuzz-target.ts';
import { anyMessage, perturb } from './protobuf-grammar.ts';

const PROTO = join(PROJECT_ROOT, 'proto');
const NODE = 1 as NodeId;

export function managerTarget(): FuzzTarget {
  const codec = loadControlCodec(PROTO);
  const root = protobuf.loadSync(join(PROTO, 'cistern', 'control.proto')).resolveAll();
  const type = root.lookupType('cistern.control.NodeMessage');
  const executor = boot().executor(NODE);
  const report = { kind: 'report', sequence: 99, report: executor.report() } as const;
  const hello = { kind: 'hello', hello: executor.hello('cluster-1') } as const;
  const corpus = [codec.encodeNodeMessage(report), codec.encodeNodeMessage(hello)];
  return {
    name: 'manager',
    corpus,
    generate: (prng: Prng) =>
      prng.chance(0.2) ? anyMessage(type, prng) : perturb(type, prng.pick(corpus), prng),
    generatedShare: 0.9,
    truncations: 30,
    memoryBytesMax: 32 * MiB,
    run: (input) => {
      const message = decodeOrRefuse(() => codec.decodeNodeMessage(input));
      if (message === null) return;
      const cluster = boot();
      const session = present(cluster.state.nodes.get(NODE)?.session ?? undefined, 'session');
      cluster.step(
        message.kind === 'report'
          ? { kind: 'node-report', session, sequence: message.sequence, report: message.report }
          : { kind: 'node-hello', session: 'stranger', hello: message.hello },
      );
      cluster.run(1000);
      const broken = checkInvariants(cluster.state);
      if (broken.length > 0) throw new Error(broken.join('; '));
    },
  };
}

function boot(): SimulatedCluster {
  const cluster = new SimulatedCluster();
  for (let index = 0; index < 3; index += 1) cluster.addNode();
  cluster.run(3000);
  cluster.createVolume('vol');
  cluster.run(500);
  return cluster;
}

import { expect } from 'chai';
import { isCertainlyNotServing } from '../../../scheduler/core/nodes/node-life.ts';
import { step } from '../../../scheduler/core/step.ts';
import type { NodeId } from '../../../shared/base/ids.ts';
import type { NodeHello } from '../../../shared/model/node-report.ts';
import { OPTIONS, SimulatedCluster } from '../../scenarios/manager/simulated-cluster.ts';

const N1 = 1 as NodeId;
const N2 = 2 as NodeId;
const N3 = 3 as NodeId;

function boot(nodes: number): SimulatedCluster {
  const cluster = new SimulatedCluster();
  for (let index = 0; index < nodes; index += 1) cluster.addNode();
  cluster.run(3000);
  return cluster;
}

function say(cluster: SimulatedCluster, fields: Partial<NodeHello>): string {
  const hello = { ...cluster.executor(N1).hello('cluster-1'), ...fields };
  const event = { kind: 'node-hello', session: 'x', hello } as const;
  const effects = step(cluster.state, event, cluster.now());
  return effects
    .map((effect) => (effect.kind === 'refuse' ? `refused: ${effect.reason}` : effect.kind))
    .join(', ');
}

describe('sessions: hello', () => {
  const cases: readonly [string, Partial<NodeHello>, RegExp][] = [
    ['its own executor', {}, /^close-session, welcome$/],
    ['no cluster yet', { clusterId: '' }, /welcome$/],
    [
      'another cluster',
      { clusterId: 'c2' },
      /^refused: node belongs to cluster "c2", this is cluster "cluster-1"$/,
    ],
    ['unknown agent', { agentId: 'a9' }, /^refused: agent "a9" is not a node of this cluster$/],
    [
      'another executor',
      { executorId: 'e9' },
      /^refused: executor "e9" is not the one that agent "agent1"/,
    ],
    [
      'a later term',
      { term: 7 },
      /^refused: node has followed a manager of term 7, this one has term 1$/,
    ],
  ];
  for (const [name, fields, expected] of cases) {
    it(`sessions: hello of ${name}`, () => {
      expect(say(boot(1), fields)).to.match(expected);
    });
  }

  it('sessions: report of an unknown session, it is closed', () => {
    const cluster = boot(1);
    const report = cluster.executor(N1).report();
    const event = { kind: 'node-report', session: 'y', sequence: 1, report } as const;
    expect(step(cluster.state, event, cluster.now())[0]?.kind).to.equal('close-session');
  });
});

describe('sessions: leases', () => {
  function report(cluster: SimulatedCluster, mapVersion: number): string[] {
    const session = 'x';
    const whole = { ...cluster.executor(N1).report(), mapVersion };
    const event = { kind: 'node-report', session, sequence: 5, report: whole } as const;
    return step(cluster.state, event, cluster.now()).map((effect) => effect.kind);
  }

  it('sessions: a node that has not applied the map of its welcome, it gets no lease', () => {
    const cluster = boot(3);
    say(cluster, {});
    const version = cluster.state.facts.cluster.mapVersion;
    expect(report(cluster, version - 1)).to.deep.equal([]);
    expect(report(cluster, version)).to.deep.equal(['lease']);
  });

  it('sessions: a restarted node whose disks kept a newer map than the store has, refused without a lease', () => {
    const cluster = boot(3);
    say(cluster, { mapVersion: 0 });
    const { mapVersion } = cluster.state.facts.cluster;
    const tell = (keptMapVersion: number): string => {
      const whole = { ...cluster.executor(N1).report(), mapVersion, keptMapVersion };
      const event = { kind: 'node-report', session: 'x', sequence: 5, report: whole } as const;
      return step(cluster.state, event, cluster.now())
        .map((effect) => (effect.kind === 'refuse' ? effect.reason : effect.kind))
        .join();
    };
    expect(tell(mapVersion)).to.equal('lease');
    expect(tell(mapVersion + 1)).to.match(/an older store was put back/);
    expect(cluster.state.nodes.get(N1)?.session).to.equal(null);
    expect(tell(mapVersion), 'of that session nothing counts any more').to.equal('close-session');
  });

  it('sessions: a fenced node with an old map, it stays fenced', () => {
    const cluster = boot(3);
    cluster.kill(N1);
    cluster.run(4000);
    say(cluster, {});
    const version = cluster.state.facts.cluster.mapVersion;
    expect(report(cluster, version - 1)).to.deep.equal([]);
    expect(cluster.state.facts.nodes.get(N1).isFenced).to.equal(true);
    expect(report(cluster, version)).to.deep.equal(['lease']);
    expect(cluster.state.facts.nodes.get(N1).isFenced).to.equal(false);
  });
});

describe('fencing: the manager itself', () => {
  it('fencing: the manager was stalled, nobody is fenced for the time it did not listen', () => {
    const cluster = boot(3);
    cluster.nowMs += 10_000;
    cluster.step({ kind: 'tick' });
    cluster.run(5000);
    expect(cluster.events('node.down')).to.deep.equal([]);
    cluster.kill(N1);
    cluster.run(4000);
    expect(cluster.events('node.down').length).to.equal(1);
  });
});

describe('fencing: sets of nodes that a cut-off node may still know', () => {
  function isOver(cluster: SimulatedCluster, node: NodeId): boolean {
    const record = cluster.state.facts.nodes.get(node);
    return isCertainlyNotServing(cluster.state, record, cluster.nowMs);
  }

  it('fencing: a node with a map of three, two more joined since, its two old peers must know', () => {
    const cluster = boot(3);
    // n1 and n2 keep each other alive by a map in which they are a majority.
    for (const node of [N1, N2]) {
      cluster.executor(node).isCutOff = true;
      cluster.executor(node).session = null;
    }
    cluster.addNode();
    cluster.addNode();
    cluster.run(60_000);
    expect(cluster.executor(N1).leaseUntilMs, 'n1 serves').to.be.above(cluster.nowMs);
    expect(
      isOver(cluster, N1),
      'three of five know the fence, but not two of the old three',
    ).to.equal(false);
    cluster.executor(N2).isCutOff = false;
    cluster.run(1000 + OPTIONS.leaseMs + OPTIONS.leaseMarginMs + 500);
    expect(isOver(cluster, N1)).to.equal(true);
    expect(cluster.executor(N1).leaseUntilMs).to.be.at.most(cluster.nowMs);
  });

  it('fencing: everybody knows the set, a new manager needs no more than a majority', () => {
    const cluster = boot(5);
    cluster.run(2000);
    cluster.kill(N1);
    cluster.kill(N2);
    cluster.restartManager();
    cluster.runUntil('certainty', () => isOver(cluster, N1) && isOver(cluster, N2), 30_000);
  });

  it('fencing: a new manager, no lease counts as over before it could be', () => {
    const cluster = boot(2);
    cluster.kill(N2);
    cluster.run(3000);
    expect(cluster.state.facts.nodes.get(N2).isFenced).to.equal(true);
    cluster.restartManager();
    const startMs = cluster.nowMs;
    cluster.runUntil('certainty', () => isOver(cluster, N2), 30_000);
    expect(cluster.nowMs - startMs).to.be.at.least(OPTIONS.leaseMs + OPTIONS.leaseMarginMs);
  });

  it('fencing: a new manager has not heard a node yet, it is not forgotten as if it were dead', () => {
    const cluster = boot(3);
    cluster.createVolume('data');
    cluster.executor(N1).isCutOff = true;
    cluster.restartManager();
    cluster.step({ kind: 'tick' });
    expect(cluster.refusal({ kind: 'forget-node', node: N1 })).to.match(
      /^unavailable: Cannot forget n1 .*has not heard it yet/,
    );
    expect(isOver(cluster, N1), 'it may serve by a lease of the manager before').to.equal(false);
    cluster.executor(N1).isCutOff = false;
    cluster.run(3000);
    expect(cluster.refusal({ kind: 'forget-node', node: N1 })).to.match(/it is up and holds/);
  });

  it('fencing: a new manager never hears a node, it is forgotten once it is shut out', () => {
    const cluster = boot(3);
    cluster.kill(N1);
    cluster.restartManager();
    cluster.runUntil('fence', () => cluster.state.facts.nodes.get(N1).isFenced, 30_000);
    cluster.must({ kind: 'forget-node', node: N1 });
    expect(cluster.state.facts.nodes.get(N1).admin).to.equal('gone');
  });

  it('fencing: a third node is forgotten, it grants nobody anything', () => {
    const cluster = boot(5);
    for (const node of [2, 3, 4] as NodeId[]) cluster.kill(node);
    cluster.run(30_000);
    expect(isOver(cluster, N2), 'three of five may keep each other alive').to.equal(false);
    cluster.must({ kind: 'forget-node', node: N3 });
    cluster.run(2000 + OPTIONS.leaseMs + OPTIONS.leaseMarginMs);
    expect(isOver(cluster, N2)).to.equal(true);
  });
});

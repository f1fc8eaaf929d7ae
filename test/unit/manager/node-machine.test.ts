/** The life of a node as a table: in each state, what each event makes of it. */
import { expect } from 'chai';
import type { Effect } from '../../../scheduler/core/contract.ts';
import { isCertainlyNotServing, isNodeUp } from '../../../scheduler/core/nodes/node-life.ts';
import { step } from '../../../scheduler/core/step.ts';
import type { NodeId } from '../../../shared/base/ids.ts';
import { OPTIONS, SimulatedCluster } from '../../scenarios/manager/simulated-cluster.ts';

const NODE = 3 as NodeId;

type NodeState = 'up' | 'lost' | 'fenced' | 'over' | 'dead' | 'gone';
type NodeEvent =
  | 'closed'
  | 'hello'
  | 'old report'
  | 'report'
  | 'silence'
  | 'mesos: dead'
  | 'forget';

/** up: session, not fenced. lost: no session, not fenced. over: fenced, its lease certainly ran out. */
function stateOf(cluster: SimulatedCluster): NodeState {
  const node = cluster.state.facts.nodes.get(NODE);
  if (node.admin === 'gone') return 'gone';
  if (isNodeUp(cluster.state, node)) return 'up';
  if (cluster.state.nodes.get(NODE)?.executor === 'dead') return 'dead';
  if (!node.isFenced) return 'lost';
  return isCertainlyNotServing(cluster.state, node, cluster.nowMs) ? 'over' : 'fenced';
}

/** Reaches a state the way it comes about. */
const ARRANGE: Readonly<Record<NodeState, (cluster: SimulatedCluster) => void>> = {
  up: () => undefined,
  lost: (cluster) => cluster.kill(NODE),
  fenced(cluster) {
    cluster.kill(NODE);
    cluster.runUntil('fenced', () => stateOf(cluster) === 'fenced', 5000);
  },
  over(cluster) {
    cluster.kill(NODE);
    cluster.runUntil('over', () => stateOf(cluster) === 'over', 15_000);
  },
  dead(cluster) {
    cluster.kill(NODE);
    ACT['mesos: dead'](cluster);
  },
  gone(cluster) {
    cluster.kill(NODE);
    cluster.must({ kind: 'forget-node', node: NODE });
  },
};

const ACT: Readonly<Record<NodeEvent, (cluster: SimulatedCluster) => readonly Effect[]>> = {
  closed(cluster) {
    const session = cluster.state.nodes.get(NODE)?.session ?? 'none';
    return act(cluster, { kind: 'node-closed', session, reason: 'reset' });
  },
  hello: (cluster) => say(cluster),
  'old report'(cluster) {
    const effects = say(cluster);
    return [...effects, ...report(cluster, cluster.state.facts.cluster.mapVersion - 1)];
  },
  report(cluster) {
    const effects = say(cluster);
    return [...effects, ...report(cluster, cluster.state.facts.cluster.mapVersion)];
  },
  silence(cluster) {
    const executor = cluster.executor(NODE);
    executor.isCutOff = true;
    cluster.run(OPTIONS.silentMs + 250);
    return [];
  },
  'mesos: dead'(cluster) {
    const observed = cluster.state.nodes.get(NODE);
    if (observed !== undefined) observed.executor = 'dead';
    cluster.executor(NODE).die();
    cluster.run(250);
    return [];
  },
  forget(cluster) {
    const command = { kind: 'forget-node', node: NODE } as const;
    return act(cluster, { kind: 'command', requestId: 'x', command });
  },
};

function act(cluster: SimulatedCluster, event: Parameters<typeof step>[1]): readonly Effect[] {
  return step(cluster.state, event, cluster.now());
}

function say(cluster: SimulatedCluster): readonly Effect[] {
  const hello = cluster.executor(NODE).hello('cluster-1');
  return act(cluster, { kind: 'node-hello', session: 'x', hello });
}

function report(cluster: SimulatedCluster, mapVersion: number): readonly Effect[] {
  const whole = { ...cluster.executor(NODE).report(), mapVersion };
  return act(cluster, { kind: 'node-report', session: 'x', sequence: 1, report: whole });
}

/** Where each event leads from each state; `*`: a lease is granted on the way. */
const TABLE = {
  up: {
    closed: 'lost',
    hello: 'up',
    'old report': 'up',
    report: 'up*',
    silence: 'fenced',
    'mesos: dead': 'dead',
    forget: 'up',
  },
  lost: {
    closed: 'lost',
    hello: 'up',
    'old report': 'up',
    report: 'up*',
    silence: 'fenced',
    'mesos: dead': 'dead',
    forget: 'gone',
  },
  fenced: {
    closed: 'fenced',
    hello: 'fenced',
    'old report': 'fenced',
    report: 'up*',
    silence: 'fenced',
    'mesos: dead': 'dead',
    forget: 'gone',
  },
  over: {
    closed: 'over',
    hello: 'over',
    'old report': 'over',
    report: 'up*',
    silence: 'over',
    'mesos: dead': 'dead',
    forget: 'gone',
  },
  dead: {
    closed: 'dead',
    // A new executor may serve as soon as it has a lease, so the old certainty ends with its hello.
    hello: 'fenced',
    'old report': 'fenced',
    report: 'up*',
    silence: 'dead',
    'mesos: dead': 'dead',
    forget: 'gone',
  },
  gone: {
    closed: 'gone',
    hello: 'gone',
    'old report': 'gone',
    report: 'gone',
    silence: 'gone',
    'mesos: dead': 'gone',
    forget: 'gone',
  },
} as const satisfies Record<NodeState, Record<NodeEvent, string>>;

describe('node: its life', () => {
  for (const [from, row] of Object.entries(TABLE) as [NodeState, Record<NodeEvent, string>][]) {
    for (const [event, to] of Object.entries(row) as [NodeEvent, string][]) {
      it(`node: ${from}, ${event}, becomes ${to}`, () => {
        const cluster = new SimulatedCluster();
        for (let index = 0; index < 4; index += 1) cluster.addNode();
        cluster.run(3000);
        cluster.createVolume('data');
        cluster.run(3000);
        ARRANGE[from](cluster);
        expect(stateOf(cluster), 'arranged').to.equal(from);
        const effects = ACT[event](cluster);
        const lease = effects.some((effect) => effect.kind === 'lease') ? '*' : '';
        expect(`${stateOf(cluster)}${lease}`).to.equal(to);
      });
    }
  }
});

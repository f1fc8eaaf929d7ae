import { expect } from 'chai';
import type { ExecutorArtefact } from '../../../scheduler/core/contract.ts';
import { explainSubject } from '../../../scheduler/core/explain/explain.ts';
import { observedHost } from '../../../scheduler/core/mesos/mesos-state.ts';
import { observedNode } from '../../../scheduler/core/nodes/node-life.ts';
import { nextArtefact } from '../../../scheduler/core/planned/executor-version.ts';
import type { NodeRecord } from '../../../scheduler/core/records.ts';
import { upgradeView } from '../../../scheduler/core/views/upgrade-view.ts';
import type { NodeId } from '../../../shared/base/ids.ts';
import { GiB } from '../../../shared/base/units.ts';
import type { UpgradeView } from '../../../shared/model/api-views.ts';
import { OPTIONS, SimulatedCluster } from './simulated-cluster.ts';

const OLD: ExecutorArtefact = { ...OPTIONS.executor, version: '1.0.0' };
const NEW: ExecutorArtefact = { ...OPTIONS.executor, version: '1.1.0' };
const MINUTE = 60_000;
/** Mesos ends an executor, offers its volumes, and starts the next one. */
const RESTART_MS = 2_000;

/** A cluster whose Mesos is played here: it obeys SHUTDOWN, and starts what the manager wants started. */
class RollingCluster {
  readonly cluster: SimulatedCluster;
  /** Nodes in the order in which they were restarted. */
  readonly restarted: NodeId[] = [];
  /** Versions that do not start, by node. */
  readonly broken = new Map<NodeId, string>();
  readonly #ended = new Map<NodeId, number>();
  /** Most nodes that were away at the same time. */
  awayMax = 0;

  constructor(nodes = 5) {
    this.cluster = new SimulatedCluster({
      resyncBytesPerSecond: 1e9,
      executor: NEW,
      earlierExecutors: [OLD],
      rebuildAfterMs: 20_000,
    });
    for (let count = 0; count < nodes; count += 1) {
      const id = this.cluster.addNode();
      this.cluster.state.facts.nodes.update(id, { artefact: OLD });
    }
    this.cluster.state.mesos.isSubscribed = true;
    this.cluster.run(3_000);
    this.cluster.write(this.cluster.createVolume('v'), GiB);
    this.cluster.runUntil('everything to be clean', () => this.cluster.isClean());
  }

  get view(): UpgradeView {
    return upgradeView(this.cluster.state, this.cluster.now());
  }

  run(ms: number): void {
    const endMs = this.cluster.nowMs + ms;
    while (this.cluster.nowMs < endMs) this.tick();
  }

  runUntil(what: string, isDone: () => boolean): void {
    const startMs = this.cluster.nowMs;
    while (!isDone()) {
      expect(this.cluster.nowMs - startMs, `${what}\n${this.cluster.describe()}`).to.be.below(
        15 * MINUTE,
      );
      this.tick();
    }
  }

  tick(): void {
    const { cluster } = this;
    cluster.run(250);
    for (const call of cluster.calls.splice(0)) {
      if (call.type !== 'SHUTDOWN') continue;
      const node = this.#find(({ executorId }) => executorId === call.shutdown?.executor_id.value);
      if (node !== undefined) this.#end(node.id);
    }
    for (const [id, endedMs] of [...this.#ended]) {
      if (cluster.nowMs - endedMs >= RESTART_MS) this.#launch(id);
    }
    const away = [...cluster.executors.values()].filter(({ isAlive }) => !isAlive).length;
    this.awayMax = Math.max(this.awayMax, away);
  }

  #find(isIt: (node: NodeRecord) => boolean): NodeRecord | undefined {
    return [...this.cluster.state.facts.nodes.values()].find(isIt);
  }

  #end(id: NodeId): void {
    this.restarted.push(id);
    this.cluster.kill(id);
    observedNode(this.cluster.state, id).executor = 'dead';
    this.#ended.set(id, this.cluster.nowMs);
  }

  #launch(id: NodeId): void {
    const { state } = this.cluster;
    const artefact = nextArtefact(state, state.facts.nodes.get(id));
    const executorId = `cistern-n${id}-${artefact.version}`;
    state.facts.nodes.update(id, { artefact, executorId });
    this.#ended.delete(id);
    if (this.broken.get(id) === artefact.version) {
      observedHost(state.mesos, id).failures += 1;
      this.#ended.set(id, this.cluster.nowMs);
      return;
    }
    const executor = this.cluster.executor(id);
    executor.executorId = executorId;
    observedNode(state, id).executor = 'unknown';
    executor.restart();
  }
}

function versions(rolling: RollingCluster): string[] {
  return rolling.view.nodes.map(({ version }) => version);
}

describe('upgrade: executors, node by node', () => {
  it('started: each node once, one at a time, only while everything is whole; then done', () => {
    const rolling = new RollingCluster();
    expect(rolling.view.state).to.equal('available');
    rolling.run(MINUTE);
    expect(versions(rolling), 'nobody started it').to.eql(Array(5).fill('1.0.0'));
    rolling.cluster.must({ kind: 'upgrade', action: 'start' });
    rolling.runUntil('the upgrade', () => rolling.view.state === 'done');
    expect(rolling.restarted.toSorted()).to.eql([1, 2, 3, 4, 5]);
    expect(rolling.awayMax).to.equal(1);
    expect(versions(rolling)).to.eql(Array(5).fill('1.1.0'));
    const [job] = [...rolling.cluster.state.facts.jobs.values()].filter(
      ({ kind }) => kind === 'upgrade',
    );
    expect([job?.phase, job?.movesDone, job?.movesTotal]).to.eql(['done', 5, 5]);
    expect(rolling.cluster.isClean()).to.equal(true);
  });

  it('another node fails in the middle: nobody else is touched until the data is whole; it is upgraded later', () => {
    const rolling = new RollingCluster();
    rolling.cluster.must({ kind: 'upgrade', action: 'start' });
    rolling.runUntil('two nodes', () => rolling.restarted.length === 2);
    rolling.cluster.kill(5 as NodeId);
    rolling.run(8_000);
    const before = rolling.restarted.length;
    expect(before).to.equal(2);
    expect(rolling.view.reason).to.match(/not whole|does not serve/);
    rolling.runUntil('the others, when the data is whole', () => rolling.restarted.length === 4);
    rolling.run(2 * MINUTE);
    expect(rolling.view.state).to.equal('running');
    expect(rolling.view.reason).to.match(/n5 \(host5\) is not up/);
    rolling.cluster.executor(5 as NodeId).restart();
    rolling.runUntil('the upgrade', () => rolling.view.state === 'done');
    expect(versions(rolling)).to.eql(Array(5).fill('1.1.0'));
  });

  it('the new version does not start: it stops at once with the reason; rolled back, all is as before', () => {
    const rolling = new RollingCluster();
    rolling.broken.set(2 as NodeId, '1.1.0');
    rolling.cluster.must({ kind: 'upgrade', action: 'start' });
    rolling.runUntil('the stop', () => rolling.view.state === 'stopped');
    expect(rolling.view.reason).to.match(/n2 .* failed 3 times in a row with 1.1.0/);
    rolling.run(2 * MINUTE);
    expect(rolling.restarted).to.eql([1, 2]);
    const [job] = [...rolling.cluster.state.facts.jobs.values()].filter(
      ({ kind }) => kind === 'upgrade',
    );
    const said = explainSubject(rolling.cluster.state, `j${job?.id}`, rolling.cluster.now());
    expect(said?.explanations[0]?.severity).to.equal('degraded');
    expect(rolling.cluster.refusal({ kind: 'upgrade', action: 'start' })).to.match(
      /is stopped; resume it, or roll it back/,
    );
    rolling.cluster.must({ kind: 'upgrade', action: 'rollback' });
    rolling.runUntil('the rollback', () => rolling.view.state === 'done');
    expect(rolling.view.isRollback).to.equal(true);
    expect(versions(rolling)).to.eql(Array(5).fill('1.0.0'));
    expect(rolling.cluster.refusal({ kind: 'upgrade', action: 'rollback' })).to.match(
      /are back at 1.0.0/,
    );
  });

  it('paused: the node in work is finished, no other begins; a new manager keeps that; resumed: it goes on', () => {
    const rolling = new RollingCluster();
    rolling.cluster.must({ kind: 'upgrade', action: 'start' });
    rolling.runUntil('the first node', () => rolling.restarted.length === 1);
    rolling.cluster.must({ kind: 'upgrade', action: 'pause' });
    rolling.run(MINUTE);
    expect(rolling.restarted).to.eql([1]);
    expect(rolling.view).to.include({ state: 'paused', reason: 'an operator paused it' });
    expect(versions(rolling)[0]).to.equal('1.1.0');
    rolling.cluster.restartManager();
    rolling.cluster.state.mesos.isSubscribed = true;
    rolling.run(MINUTE);
    expect(rolling.view.state).to.equal('paused');
    expect(rolling.restarted).to.eql([1]);
    rolling.cluster.must({ kind: 'upgrade', action: 'resume' });
    rolling.runUntil('the upgrade', () => rolling.view.state === 'done');
    expect(rolling.restarted).to.eql([1, 2, 3, 4, 5]);
  });

  it('a node that does not come back in time: stopped, nobody else is touched', () => {
    const rolling = new RollingCluster();
    rolling.cluster.must({ kind: 'upgrade', action: 'start' });
    rolling.runUntil('the first node', () => rolling.restarted.length === 1);
    rolling.cluster.executor(1 as NodeId).isIsolated = true;
    rolling.runUntil('the stop', () => rolling.view.state === 'stopped');
    expect(rolling.view.reason).to.match(/n1 \(host1\) is not back 5m 0s after its restart/);
    expect(rolling.restarted).to.eql([1]);
  });

  it('nothing to upgrade, nothing to pause, nothing to roll back: said so', () => {
    const rolling = new RollingCluster(3);
    expect(rolling.cluster.refusal({ kind: 'upgrade', action: 'pause' })).to.match(
      /no upgrade runs/,
    );
    expect(rolling.cluster.refusal({ kind: 'upgrade', action: 'rollback' })).to.match(
      /never upgraded/,
    );
    for (const { id } of rolling.cluster.state.facts.nodes.values()) {
      rolling.cluster.state.facts.nodes.update(id, { artefact: NEW });
    }
    expect(rolling.cluster.must({ kind: 'upgrade', action: 'start' })).to.equal(null);
    expect(rolling.view.state).to.equal('none');
  });
});

import { expect } from 'chai';
import { explainSubject } from '../../../scheduler/core/explain/explain.ts';
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import { GiB } from '../../../shared/base/units.ts';
import type { ExplanationView } from '../../../shared/model/explanation-view.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

function explained(cluster: SimulatedCluster, subject: string): readonly ExplanationView[] {
  return explainSubject(cluster.state, subject, cluster.now())?.explanations ?? [];
}

/** Four nodes, a volume with data on two of each group's disks, everything clean. */
function cleanCluster(nodes = 4): { readonly cluster: SimulatedCluster; readonly ids: NodeId[] } {
  const cluster = new SimulatedCluster({ resyncBytesPerSecond: 1e9 });
  const ids = Array.from({ length: nodes }, () => cluster.addNode());
  cluster.run(3_000);
  const volume = cluster.createVolume('v');
  cluster.write(volume, GiB);
  cluster.runUntil('everything to be clean', () => cluster.isClean());
  return { cluster, ids };
}

function announce(cluster: SimulatedCluster, node: NodeId, inMs: number, lastsMs: number): number {
  const fromMs = cluster.nowMs + inMs;
  cluster.state.facts.nodes.update(node, {
    unavailableFromMs: fromMs,
    unavailableUntilMs: fromMs + lastsMs,
  });
  return fromMs;
}

function diskOf(cluster: SimulatedCluster, node: NodeId): DiskId {
  const disk = [...cluster.state.facts.disks.values()].find((each) => each.node === node);
  if (disk === undefined) throw new Error('the node has no disk');
  return disk.id;
}

/** The smallest number of in-sync members of any group, looked at after every tick. */
function watchRedundancy(cluster: SimulatedCluster): () => number {
  let least = Number.POSITIVE_INFINITY;
  const step = cluster.step.bind(cluster);
  cluster.step = (event) => {
    step(event);
    for (const pg of cluster.state.facts.pgs.values()) least = Math.min(least, pg.inSync.length);
  };
  return () => least;
}

const MINUTE = 60_000;

describe('maintenance: a window that Mesos announces', () => {
  it('announced ahead: nothing moves before it is due, then the node is empty in time, and comes back by itself', () => {
    const { cluster, ids } = cleanCluster();
    const [node = 1 as NodeId] = ids;
    const disk = diskOf(cluster, node);
    const held = cluster.pgCountOf(disk);
    const least = watchRedundancy(cluster);
    const fromMs = announce(cluster, node, 40 * MINUTE, 15 * MINUTE);
    cluster.run(20 * MINUTE);
    expect(cluster.pgCountOf(disk), 'half of the time later').to.equal(held);
    expect(cluster.events('node.evacuating')).to.eql([]);
    cluster.runUntil('the evacuation', () => cluster.pgCountOf(disk) === 0, 40 * MINUTE);
    expect(cluster.nowMs).to.be.below(fromMs);
    expect(fromMs - cluster.nowMs, 'not much too early').to.be.below(30 * MINUTE);
    cluster.run(fromMs - cluster.nowMs + MINUTE);
    cluster.kill(node);
    cluster.run(5 * MINUTE);
    expect(cluster.isClean(), 'nobody misses it').to.equal(true);
    expect(least()).to.equal(2);
    cluster.executor(node).restart();
    cluster.run(5 * MINUTE);
    expect(cluster.pgCountOf(disk), 'still in its window').to.equal(0);
    cluster.runUntil('data to come back', () => cluster.pgCountOf(disk) > 0, 30 * MINUTE);
    expect(cluster.events('node.maintenance-over')).to.have.length(1);
    cluster.runUntil('everything to be clean', () => cluster.isClean());
  });

  it('in a minute: emptied at once, though it may be late; explain says for what', () => {
    const { cluster, ids } = cleanCluster();
    const [node = 1 as NodeId] = ids;
    announce(cluster, node, MINUTE, 30 * MINUTE);
    cluster.run(1_000);
    expect(cluster.events('node.evacuating')).to.have.length(1);
    const [said] = explained(cluster, `n${node}`);
    expect(said?.message).to.match(
      /is draining: its maintenance begins in .*replicas are still to move/i,
    );
    expect(said?.severity).to.equal('notice');
    cluster.runUntil('the evacuation', () => cluster.pgCountOf(diskOf(cluster, node)) === 0);
    expect(explained(cluster, `n${node}`)[0]?.message).to.match(/is drained.*it is empty/);
  });

  it('the schedule is taken back in the middle: the evacuation is called off', () => {
    const { cluster, ids } = cleanCluster();
    const [node = 1 as NodeId] = ids;
    announce(cluster, node, MINUTE, 30 * MINUTE);
    cluster.run(1_000);
    const unset = { unavailableFromMs: null, unavailableUntilMs: null };
    cluster.state.facts.nodes.update(node, unset);
    cluster.run(1_000);
    expect(cluster.state.facts.nodes.get(node).evacuation ?? null).to.equal(null);
    const jobs = [...cluster.state.facts.jobs.values()].filter(({ kind }) => kind === 'drain');
    expect(jobs.map(({ phase }) => phase)).to.eql(['cancelled']);
    cluster.runUntil('everything to be clean', () => cluster.isClean());
    expect(cluster.pgCountOf(diskOf(cluster, node))).to.be.above(0);
  });

  it('a new manager in the middle: it goes on, and nothing moves back', () => {
    const { cluster, ids } = cleanCluster();
    const [node = 1 as NodeId] = ids;
    announce(cluster, node, 2 * MINUTE, 30 * MINUTE);
    cluster.runUntil('the evacuation', () => cluster.pgCountOf(diskOf(cluster, node)) === 0);
    cluster.restartManager();
    cluster.run(MINUTE);
    expect(cluster.pgCountOf(diskOf(cluster, node))).to.equal(0);
    expect(cluster.events('node.evacuating')).to.have.length(1);
  });

  it('no room elsewhere: its replicas stay, redundancy comes first, and the reason is said', () => {
    const { cluster, ids } = cleanCluster(2);
    const [node = 1 as NodeId] = ids;
    const least = watchRedundancy(cluster);
    announce(cluster, node, MINUTE, 30 * MINUTE);
    cluster.run(5 * MINUTE);
    expect(least()).to.equal(2);
    expect(cluster.pgCountOf(diskOf(cluster, node))).to.be.above(0);
    expect(JSON.stringify(explained(cluster, `n${node}`))).to.match(/still to move/);
  });

  it('windows near on all nodes that are left: lost redundancy is restored there all the same', () => {
    const { cluster, ids } = cleanCluster(3);
    const [lost = 1 as NodeId, ...others] = ids;
    // Near enough to be avoided, too far to be evacuated.
    for (const node of others) announce(cluster, node, 40 * MINUTE, 10 * MINUTE);
    cluster.run(1_000);
    expect([...cluster.state.work.avoidedNodes]).to.eql(others);
    cluster.kill(lost);
    cluster.run(2 * MINUTE);
    for (const pg of cluster.state.facts.pgs.values()) expect(pg.inSync).to.have.length(2);
    const volume = cluster.createVolume('w');
    cluster.send({ kind: 'attach-volume', volume, node: null, isForced: false });
    expect(cluster.state.facts.volumes.get(volume).attachedTo).to.be.oneOf(others);
  });

  it('an evacuation cannot be cancelled here, and volumes are not attached there', () => {
    const { cluster, ids } = cleanCluster(3);
    const [node = 1 as NodeId] = ids;
    announce(cluster, node, MINUTE, 30 * MINUTE);
    cluster.run(500);
    const job = [...cluster.state.facts.jobs.values()].find(({ kind }) => kind === 'drain');
    if (job === undefined) throw new Error('no job');
    expect(cluster.refusal({ kind: 'cancel-job', job: job.id })).to.match(/change the schedule/);
    const volume = cluster.createVolume('w');
    cluster.send({ kind: 'attach-volume', volume, node: null, isForced: false });
    expect(cluster.state.facts.volumes.get(volume).attachedTo).not.to.equal(node);
  });
});

describe('maintenance: an operator drains an agent in Mesos', () => {
  it('a planned outage: no rebuild for half an hour, and explain says so; then it is rebuilt', () => {
    const { cluster, ids } = cleanCluster();
    const [node = 1 as NodeId] = ids;
    cluster.state.facts.nodes.update(node, { outageSinceMs: cluster.nowMs });
    cluster.kill(node);
    cluster.run(20 * MINUTE);
    const disk = diskOf(cluster, node);
    const targets = (): number => cluster.state.work.targetsOfDisk.get(disk) ?? 0;
    expect(targets(), 'it keeps its place').to.be.above(0);
    const [said] = explained(cluster, `n${node}`);
    expect(JSON.stringify(said)).to.match(/planned outage/);
    expect(said?.next).to.match(/rebuilt on other nodes in (9|10)m/);
    cluster.run(15 * MINUTE);
    expect(targets()).to.equal(0);
    cluster.runUntil('everything to be clean', () => cluster.isClean());
  });
});

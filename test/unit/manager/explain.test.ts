import { expect } from 'chai';
import { VIEW_SCHEMAS } from '../../../scheduler/api/view-schemas.ts';
import { explainAll, explainSubject } from '../../../scheduler/core/explain/explain.ts';
import { DISK_PHASES } from '../../../scheduler/core/explain/explain-disk.ts';
import { JOB_KINDS, JOB_PHASES } from '../../../scheduler/core/explain/explain-job.ts';
import { NODE_WORDS } from '../../../scheduler/core/explain/explain-node.ts';
import { MOVE_WAITS, PG_WORDS } from '../../../scheduler/core/explain/explain-pg.ts';
import { ATTACHMENT_WORDS, VOLUME_WORDS } from '../../../scheduler/core/explain/explain-volume.ts';
import { startJob } from '../../../scheduler/core/jobs/jobs.ts';
import type { DiskPhase, JobKind } from '../../../scheduler/core/records.ts';
import type { DiskId, NodeId, PgId, VolumeId } from '../../../shared/base/ids.ts';
import { GiB, MiB } from '../../../shared/base/units.ts';
import { findUnexplained } from '../../scenarios/manager/explained.ts';
import { SimulatedCluster } from '../../scenarios/manager/simulated-cluster.ts';

function boot(): { cluster: SimulatedCluster; volume: VolumeId } {
  const cluster = new SimulatedCluster();
  for (let index = 0; index < 4; index += 1) cluster.addNode();
  cluster.run(3000);
  cluster.state.mesos.isSubscribed = true;
  const volume = cluster.createVolume('data', 2, 20 * GiB);
  cluster.write(volume, 640 * MiB);
  cluster.run(3000);
  return { cluster, volume };
}

function explain(cluster: SimulatedCluster, subject: string) {
  const answer = explainSubject(cluster.state, subject, cluster.now());
  const [first] = answer?.explanations ?? [];
  if (first === undefined) throw new Error(`${subject} has no explanation`);
  return first;
}

/** The words that the API's schemas allow for a field. */
function schemaWords(view: string, field: string): readonly string[] {
  const schema = VIEW_SCHEMAS.find((one) => one['$id'] === view);
  const properties = schema?.['properties'] as Record<string, { enum?: string[] }>;
  return properties[field]?.enum ?? [];
}

describe('explain', () => {
  it('explain: every word that a view may show has its place in a table', () => {
    const tables: readonly (readonly [string, string, object])[] = [
      ['Node', 'state', NODE_WORDS],
      ['Disk', 'state', DISK_PHASES],
      ['Pg', 'state', PG_WORDS],
      ['Attachment', 'state', ATTACHMENT_WORDS],
      ['Volume', 'state', VOLUME_WORDS],
      ['Job', 'state', JOB_PHASES],
      ['Job', 'kind', JOB_KINDS],
    ];
    for (const [view, field, table] of tables) {
      const words = schemaWords(view, field);
      expect(words.length, `${view}.${field}`).to.be.above(0);
      expect([...words].sort(), `${view}.${field}`).to.deep.equal(Object.keys(table).sort());
    }
  });

  it('explain: all is green, no explanation', () => {
    const { cluster } = boot();
    expect(explainAll(cluster.state, cluster.now()).explanations).to.deep.equal([]);
    for (const subject of ['n1', 'd1', 'pg1', 'data', 'v1', 'default', 'host1', 'mesos']) {
      const answer = explainSubject(cluster.state, subject, cluster.now());
      expect(answer?.explanations, subject).to.deep.equal([]);
    }
    for (const subject of ['n9', 'd99', 'pg999', 'j1', 'nothing', '']) {
      expect(explainSubject(cluster.state, subject, cluster.now()), subject).to.equal(null);
    }
  });

  for (const phase of Object.keys(DISK_PHASES) as DiskPhase[]) {
    it(`explain: a disk in any phase, said what happens next (${phase})`, () => {
      const { cluster } = boot();
      cluster.state.facts.disks.update(1 as DiskId, { phase, error: 'for a reason' });
      expect(findUnexplained(cluster.state, cluster.now())).to.deep.equal([]);
      if (phase === 'serving') return;
      expect(explain(cluster, 'd1')).to.deep.include({ kind: 'disk', state: phase });
    });
  }

  for (const kind of Object.keys(JOB_KINDS) as JobKind[]) {
    it(`explain: a job that runs and finds nothing to do, said why (${kind})`, () => {
      const { cluster } = boot();
      const subject = kind === 'drain' ? 'n1' : kind === 'delete' ? 'v1' : 'default';
      const job = startJob(
        cluster.state,
        { kind, subject, reason: 'of a test', movesTotal: 2 },
        cluster.now(),
      );
      expect(findUnexplained(cluster.state, cluster.now())).to.deep.equal([]);
      expect(explain(cluster, `j${job.id}`)).to.deep.include({ state: 'running' });
    });
  }

  for (const wait of Object.keys(MOVE_WAITS) as (keyof typeof MOVE_WAITS)[]) {
    it(`explain: a placement group that waits, said for what (${wait})`, () => {
      const { cluster } = boot();
      const pg = cluster.state.facts.pgs.get(0 as PgId);
      const [kept = 1 as DiskId] = pg.inSync;
      const other = ([1, 2, 3, 4] as DiskId[]).find((disk) => !pg.inSync.includes(disk));
      cluster.state.facts.pgs.put({ ...pg, inSync: [kept], target: [kept, other ?? kept] });
      cluster.state.work.unsettled.add(pg.id);
      cluster.state.work.moveWaits = new Map([[pg.id, wait]]);
      expect(findUnexplained(cluster.state, cluster.now())).to.deep.equal([]);
      expect(explain(cluster, 'pg0').next).to.equal(MOVE_WAITS[wait].next);
    });
  }

  it('explain: Mesos is gone, said since when and that I/O goes on', () => {
    const { cluster } = boot();
    cluster.step({ kind: 'mesos-disconnected', reason: 'connection refused' });
    cluster.run(60_000);
    const found = explain(cluster, 'mesos');
    expect(found.message).to.equal('Not subscribed at the Mesos master: connection refused');
    expect(found.next).to.match(/^I\/O goes on/);
    expect(Date.parse(found.since ?? '')).to.equal(cluster.now().wallMs - 60_000);
  });

  it('explain: a node dies, the volume on it is traced down to the node, with a way out', () => {
    const { cluster, volume } = boot();
    const node = 3 as NodeId;
    cluster.must({ kind: 'attach-volume', volume, node, isForced: false });
    cluster.run(2000);
    cluster.kill(node);
    cluster.run(12_000);
    const found = explain(cluster, 'data');
    expect(found).to.deep.include({
      kind: 'volume',
      subject: 'v1',
      state: 'paused',
      severity: 'critical',
      message: 'Volume "data" does not serve: n3 is out of reach',
      command: 'cistern volume attach data',
    });
    expect(found.causes[0]?.message).to.match(/^n3 \(host3\) is down: silent for/);
    expect(found.causes[1]?.message).to.match(/^The last report of n3 came .* ago; its control/);
  });

  it('explain: a node is fenced, the deadline is the end of its lease', () => {
    const { cluster } = boot();
    cluster.kill(3 as NodeId);
    cluster.run(3000);
    const found = explain(cluster, 'n3');
    expect(found.state).to.equal('fenced');
    const leftMs = Date.parse(found.by ?? '') - cluster.now().wallMs;
    expect(leftMs).to.be.within(1, cluster.options.leaseMs + cluster.options.leaseMarginMs);
    const pg = cluster.state.work.pgsOfDisk
      .get(3 as DiskId)
      ?.values()
      .next().value;
    expect(explain(cluster, `pg${pg}`).next).to.match(/^Writes go on without d3 as soon as/);
  });

  it('explain: a node stays away, the deadline is the rebuild', () => {
    const { cluster } = boot();
    cluster.kill(3 as NodeId);
    cluster.run(20_000);
    const found = explain(cluster, 'n3');
    expect(found.next).to.match(/^Its replicas are rebuilt on other nodes in 4\ds unless/);
    expect(Date.parse(found.by ?? '') - cluster.now().wallMs).to.be.within(39_000, 41_000);
    cluster.run(60_000);
    expect(explain(cluster, 'n3').command).to.equal('cistern node forget n3');
  });

  it('explain: both copies are away, nobody is told to forget the node', () => {
    const { cluster } = boot();
    const pg = cluster.state.facts.pgs.get(5 as PgId);
    for (const disk of pg.inSync) cluster.kill(cluster.state.facts.disks.get(disk).node);
    cluster.run(20_000);
    const found = explain(cluster, 'pg5');
    expect(found).to.deep.include({ state: 'unavailable', severity: 'critical' });
    expect(found.action).to.match(/do not forget that node: it has the only copy/);
    expect(found.noDeadline).to.match(/^nobody else has the data/);
  });

  it('explain: every copy is on failed disks, said that nothing happens by itself', () => {
    const { cluster } = boot();
    const pg = cluster.state.facts.pgs.get(5 as PgId);
    for (const disk of pg.inSync) {
      cluster.state.facts.disks.update(disk, { phase: 'failed', error: 'EIO' });
    }
    const found = explain(cluster, 'pg5');
    expect(found.next).to.match(/^Nothing by itself/);
    expect(found.command).to.match(/^cistern disk activate d\d$/);
  });

  it('explain: blocks that no replica has good any more, named with disk, volume and extent', () => {
    const { cluster, volume } = boot();
    const range = { pg: 5 as PgId, volume, extent: 17, block: 4, blockCount: 4 };
    cluster.executor(1 as NodeId).badBlocks = [{ ...range, disk: 1 as DiskId, isLost: true }];
    cluster.executor(2 as NodeId).badBlocks = [
      { ...range, disk: 2 as DiskId, blockCount: 1, isLost: false },
    ];
    cluster.run(1500);
    const { explanations } = explainAll(cluster.state, cluster.now());
    expect(explanations.map((one) => `${one.severity} ${one.state}: ${one.message}`)).to.deep.equal(
      [
        'critical blocks-lost: Volume "data" has ranges of which no replica has a good copy: extent 17, blocks 4 to 7 (pg5 on d1)',
        'degraded blocks-bad: Volume "data" has bad blocks on one replica: extent 17, block 4 (pg5 on d2)',
      ],
    );
    for (const subject of ['data', 'd1', 'pg5']) {
      expect(explain(cluster, subject).state, subject).to.equal('blocks-lost');
    }
    expect(findUnexplained(cluster.state, cluster.now())).to.deep.equal([]);
  });
});

import { expect } from 'chai';
import { NoticeBoard } from '../../../executor/notice-board.ts';
import { restoreNotices, takeNotices } from '../../../scheduler/core/notices.ts';
import type { EventRecord } from '../../../scheduler/core/records.ts';
import type { Now, State } from '../../../scheduler/core/state.ts';
import { createWork } from '../../../scheduler/core/work.ts';
import { type DiskId, nodeId } from '../../../shared/base/ids.ts';
import { EMPTY_REPORT, NOTICES_MAX, type NodeReport } from '../../../shared/model/node-report.ts';
import { SimulatedCluster } from '../../scenarios/manager/simulated-cluster.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';

const NODE = nodeId(3);

class Bench {
  readonly clock = new VirtualClock();
  readonly board = new NoticeBoard({ clock: this.clock, log: () => undefined }, () => undefined);
  readonly state: State = new SimulatedCluster().state;
  readonly before = this.state.facts.events.size;
  source = 'run-1';

  raise(count: number): void {
    for (let n = 0; n < count; n += 1) {
      this.board.raise({
        severity: 'warning',
        kind: 'block.repaired',
        text: 'Same',
        disk: 7 as DiskId,
      });
    }
  }

  report(): NodeReport {
    return { ...EMPTY_REPORT, noticeSource: this.source, notices: this.board.list() };
  }

  take(ms: number): void {
    takeNotices(this.state, NODE, this.report(), at(ms));
  }

  events(): EventRecord[] {
    return [...this.state.facts.events.values()].slice(this.before);
  }
}

describe('notices', () => {
  it('notices: the same report many times, one event each, with its subject and its time', async () => {
    const bench = new Bench();
    bench.raise(2);
    await bench.clock.runFor(5000);
    for (const ms of [10_000, 11_000, 80_000]) bench.take(ms);
    const events = bench.events();
    expect(events.map(({ kind, subject }) => `${kind} ${subject}`)).to.deep.equal([
      'block.repaired d7',
      'block.repaired d7',
    ]);
    expect(events.map(({ atMs }) => atMs)).to.deep.equal([5000, 5000]);
  });

  it('notices: a data process that starts anew, its numbers begin again', () => {
    const bench = new Bench();
    bench.raise(3);
    bench.take(0);
    const second = new Bench();
    second.raise(1);
    takeNotices(bench.state, NODE, { ...second.report(), noticeSource: 'run-2' }, at(1000));
    expect(bench.events().length).to.equal(4);
  });

  it('notices: a new manager, those that the last one recorded are not recorded again', () => {
    const bench = new Bench();
    bench.raise(3);
    bench.take(0);
    const successor: State = { ...bench.state, work: createWork() };
    restoreNotices(successor);
    takeNotices(successor, NODE, bench.report(), at(1000));
    expect(bench.events().length).to.equal(3);
    bench.raise(1);
    takeNotices(successor, NODE, bench.report(), at(2000));
    expect(bench.events().length).to.equal(4);
  });

  it('notices: more than a person would read, counted in one event a minute later', () => {
    const bench = new Bench();
    bench.raise(200);
    expect(bench.report().notices.length).to.equal(NOTICES_MAX);
    bench.take(0);
    expect(bench.events().length).to.equal(30);
    bench.take(59_000);
    expect(bench.events().length).to.equal(30);
    bench.take(60_000);
    const last = bench.events().at(-1);
    expect(last?.kind).to.equal('node.notices');
    expect(last?.message).to.contain('170 more findings');
    bench.take(120_000);
    expect(bench.events().length).to.equal(31);
  });

  it('notices: a node without a data process, nothing', () => {
    const bench = new Bench();
    takeNotices(bench.state, NODE, EMPTY_REPORT, at(0));
    expect(bench.events()).to.deep.equal([]);
  });
});

function at(ms: number): Now {
  return { ms, wallMs: ms };
}

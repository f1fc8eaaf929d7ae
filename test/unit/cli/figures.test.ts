/** How the command line writes figures, and reads streams. */
import { expect } from 'chai';
import picocolors from 'picocolors';
import {
  formatBar,
  formatCapacityBar,
  formatJobProgress,
  formatPgs,
  formatRatio,
} from '../../../cli/figures.ts';
import { readServerEvents, type ServerEvent } from '../../../cli/server-events.ts';
import { renderTable } from '../../../cli/table.ts';
import { generateCluster, LARGE } from '../../fixture/cluster-views.ts';

const plain = picocolors.createColors(false);

describe('cli: figures', () => {
  it('ratios: never rounded up to full, never down to nothing', () => {
    expect(formatRatio(0)).to.equal('0 %');
    expect(formatRatio(0.001)).to.equal('<1 %');
    expect(formatRatio(0.29)).to.equal('29 %');
    expect(formatRatio(0.999)).to.equal('99 %');
    expect(formatRatio(1)).to.equal('100 %');
  });

  it('bars: as wide as asked, whatever the ratio', () => {
    for (const ratio of [-1, 0, 0.26, 0.5, 1, 7]) {
      expect(formatBar(ratio, 10), String(ratio)).to.have.length(10);
    }
    expect(formatBar(0.5, 10)).to.equal('█████░░░░░');
  });

  it('capacity: used, free and reserve fill the bar', () => {
    const capacity = {
      rawBytes: 1000,
      usedBytes: 500,
      freeBytes: 500,
      reserveBytes: 200,
      usableBytes: 100,
      provisionedBytes: 0,
      usedRatio: 0.5,
    };
    expect(formatCapacityBar(capacity, 10)).to.equal('█████░░░▒▒');
    expect(formatCapacityBar({ ...capacity, rawBytes: 0, usedBytes: 0 }, 4)).to.equal('░░░░');
  });

  it('placement groups: only the states that there are', () => {
    const counts = { total: 5, clean: 4, degraded: 1, misplaced: 0, unavailable: 0 };
    expect(formatPgs(counts, plain)).to.equal('4 clean, 1 degraded');
    expect(formatPgs({ ...counts, clean: 0, degraded: 0 }, plain)).to.equal('none yet');
  });

  it('jobs: how much, how fast, how long', () => {
    const [job] = generateCluster(LARGE).jobs;
    if (job === undefined) throw new Error('The fixture has a job');
    expect(formatJobProgress(job)).to.equal('960 GiB of 2.3 TiB, 640 MiB/s, 38m 24s left');
    expect(formatJobProgress({ ...job, etaSeconds: null })).to.include('time left unknown');
  });

  it('tables: headings, aligned columns, no trailing space', () => {
    const rows = [
      { name: 'a', size: 5 },
      { name: 'longer', size: 1234 },
    ];
    const text = renderTable(
      [
        { title: 'name', read: (row) => row.name },
        { title: 'size', isNumber: true, read: (row) => String(row.size) },
        { title: 'note', read: () => '' },
      ],
      rows,
      plain,
    );
    expect(text).to.equal('NAME    SIZE  NOTE\na          5\nlonger  1234');
  });
});

describe('cli: server-sent events', () => {
  const text =
    'retry: 2000\n\n: alive\n\nevent: event\nid: 7\ndata: {"a":"ü"}\n\ndata: x\ndata: y\n\n';
  const expected: readonly ServerEvent[] = [
    { name: 'event', id: 7, data: '{"a":"ü"}' },
    { name: 'message', id: null, data: 'x\ny' },
  ];

  async function read(parts: readonly Uint8Array[]): Promise<ServerEvent[]> {
    const events: ServerEvent[] = [];
    const body = (async function* () {
      yield* parts;
    })();
    for await (const event of readServerEvents(body, new AbortController().signal)) {
      events.push(event);
    }
    return events;
  }

  it('stream: cut at every byte, the same events', async () => {
    const bytes = Buffer.from(text);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const events = await read([bytes.subarray(0, cut), bytes.subarray(cut)]);
      expect(events, `cut at ${cut}`).to.deep.equal(expected);
    }
  });

  it('stream: cut off in the middle of an event, that event is not invented', async () => {
    expect(await read([Buffer.from(text.slice(0, -1))])).to.deep.equal(expected.slice(0, 1));
  });
});

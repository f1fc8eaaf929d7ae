import { expect } from 'chai';
import { EVENTS_MAX, recordEvent } from '../../../scheduler/core/events.ts';
import { eventViews } from '../../../scheduler/core/views/job-views.ts';
import { IDLE_IO, ioOf, sampleIo } from '../../../scheduler/core/views/rates.ts';
import type { VolumeId } from '../../../shared/base/ids.ts';
import type { AttachmentReport } from '../../../shared/model/node-report.ts';
import { SimulatedCluster } from '../../scenarios/manager/simulated-cluster.ts';

describe('events', () => {
  const event = { severity: 'info', kind: 'test.said', subject: 'cluster' } as const;

  it('events: the same one again within a minute, recorded once', () => {
    const { state } = new SimulatedCluster();
    const before = state.facts.events.size;
    for (const ms of [0, 1000, 59_999, 60_000]) {
      recordEvent(state, { ...event, message: 'Same' }, { ms, wallMs: ms });
    }
    expect(state.facts.events.size - before).to.equal(2);
  });

  it('events: more than are kept, the oldest go', () => {
    const { state } = new SimulatedCluster();
    const now = { ms: 0, wallMs: 0 };
    for (let n = 0; n < EVENTS_MAX + 500; n += 1) {
      recordEvent(state, { ...event, message: `Number ${n}` }, now);
    }
    expect(state.facts.events.size).to.equal(EVENTS_MAX);
    const last = state.facts.cluster.nextEvent - 1;
    expect(eventViews(state, 0, 3).map((view) => view.id)).to.deep.equal([
      last - 2,
      last - 1,
      last,
    ]);
    expect(eventViews(state, last - 1, 100).map((view) => view.id)).to.deep.equal([last]);
    expect(eventViews(state, 0, 1_000_000).length).to.equal(EVENTS_MAX);
  });
});

describe('rates', () => {
  const volume = 1 as VolumeId;

  function counters(fields: Partial<AttachmentReport>): AttachmentReport {
    return {
      volume,
      generation: 1,
      status: 'serving',
      reason: '',
      socketPath: '',
      tcpUri: '',
      clientCount: 1,
      readOps: 0,
      writeOps: 0,
      readBytes: 0,
      writeBytes: 0,
      readMicros: 0,
      writeMicros: 0,
      ...fields,
    };
  }

  it('rates: counters of two reports, means over the time between', () => {
    const { state } = new SimulatedCluster();
    sampleIo(state, counters({ readOps: 100, writeOps: 5 }), 1000);
    sampleIo(
      state,
      counters({ readOps: 300, readBytes: 8192, readMicros: 400_000, writeOps: 5 }),
      3000,
    );
    expect(ioOf(state, volume, 3000)).to.deep.equal({
      readOpsPerSecond: 100,
      writeOpsPerSecond: 0,
      readBytesPerSecond: 4096,
      writeBytesPerSecond: 0,
      readLatencyMs: 2,
      writeLatencyMs: null,
    });
  });

  it('rates: a load that ended, the rate falls to zero within the window', () => {
    const { state } = new SimulatedCluster();
    sampleIo(state, counters({ writeOps: 0 }), 0);
    for (let ms = 1000; ms <= 10_000; ms += 1000) sampleIo(state, counters({ writeOps: 1000 }), ms);
    expect(ioOf(state, volume, 10_000).writeOpsPerSecond).to.equal(0);
  });

  it('rates: another generation, counters begin anew and never go below zero', () => {
    const { state } = new SimulatedCluster();
    sampleIo(state, counters({ readOps: 100 }), 0);
    sampleIo(state, counters({ readOps: 5, generation: 2 }), 1000);
    expect(ioOf(state, volume, 1000)).to.deep.equal(IDLE_IO);
    sampleIo(state, counters({ readOps: 3, generation: 2 }), 2000);
    expect(ioOf(state, volume, 2000)).to.deep.equal(IDLE_IO);
  });

  it('rates: no report for long, nothing is claimed', () => {
    const { state } = new SimulatedCluster();
    sampleIo(state, counters({ readOps: 0 }), 0);
    sampleIo(state, counters({ readOps: 100 }), 1000);
    expect(ioOf(state, volume, 12_000)).to.deep.equal(IDLE_IO);
  });
});

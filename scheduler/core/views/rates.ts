/**
 * I/O rates of attachments, from the counters of successive reports. Rates are means over the last few
 * seconds: the counters of now against those of a sample that is at least `WINDOW_MS` old.
 */
import type { IoView } from '../../../shared/model/api-views.ts';
import type { AttachmentReport } from '../../../shared/model/node-report.ts';
import type { State } from '../state.ts';
import type { IoCounters, IoPoint } from '../work.ts';

/** Long enough to even out single reports, short enough to follow the load by eye. */
const WINDOW_MS = 3000;
/** A rate that nobody refreshed for this long is no longer true. */
const STALE_MS = 10_000;

export const IDLE_IO: IoView = {
  readOpsPerSecond: 0,
  writeOpsPerSecond: 0,
  readBytesPerSecond: 0,
  writeBytesPerSecond: 0,
  readLatencyMs: null,
  writeLatencyMs: null,
};

/** Takes the counters of one attachment out of a report that arrived at `nowMs`. */
export function sampleIo(state: State, report: AttachmentReport, nowMs: number): void {
  const samples = state.work.ioSamples;
  const point: IoPoint = { atMs: nowMs, counters: pickCounters(report) };
  const known = samples.get(report.volume);
  if (known === undefined || isReset(known.last.counters, point.counters)) {
    samples.set(report.volume, { base: point, last: point, io: IDLE_IO });
    return;
  }
  const base = nowMs - known.base.atMs > WINDOW_MS ? known.last : known.base;
  samples.set(report.volume, { base, last: point, io: ratesBetween(base, point) });
}

/** The rates of a volume; zero when it was not reported lately. */
export function ioOf(state: State, volume: AttachmentReport['volume'], nowMs: number): IoView {
  const sample = state.work.ioSamples.get(volume);
  return sample === undefined || nowMs - sample.last.atMs > STALE_MS ? IDLE_IO : sample.io;
}

/** Sums of rates; latencies are weighted by operations. */
export function sumIo(views: readonly IoView[]): IoView {
  let [readOps, writeOps, readBytes, writeBytes, readMs, writeMs] = [0, 0, 0, 0, 0, 0];
  for (const view of views) {
    readOps += view.readOpsPerSecond;
    writeOps += view.writeOpsPerSecond;
    readBytes += view.readBytesPerSecond;
    writeBytes += view.writeBytesPerSecond;
    readMs += (view.readLatencyMs ?? 0) * view.readOpsPerSecond;
    writeMs += (view.writeLatencyMs ?? 0) * view.writeOpsPerSecond;
  }
  return {
    readOpsPerSecond: readOps,
    writeOpsPerSecond: writeOps,
    readBytesPerSecond: readBytes,
    writeBytesPerSecond: writeBytes,
    readLatencyMs: readOps === 0 ? null : readMs / readOps,
    writeLatencyMs: writeOps === 0 ? null : writeMs / writeOps,
  };
}

function pickCounters(report: AttachmentReport): IoCounters {
  const { generation, readOps, writeOps, readBytes, writeBytes, readMicros, writeMicros } = report;
  return { generation, readOps, writeOps, readBytes, writeBytes, readMicros, writeMicros };
}

/** Another generation, or a gateway that started anew: its counters begin at zero. */
function isReset(last: IoCounters, next: IoCounters): boolean {
  return (
    last.generation !== next.generation ||
    next.readOps < last.readOps ||
    next.writeOps < last.writeOps ||
    next.readBytes < last.readBytes ||
    next.writeBytes < last.writeBytes
  );
}

function ratesBetween(from: IoPoint, to: IoPoint): IoView {
  const seconds = (to.atMs - from.atMs) / 1000;
  if (seconds <= 0) return IDLE_IO;
  const a = from.counters;
  const b = to.counters;
  const reads = b.readOps - a.readOps;
  const writes = b.writeOps - a.writeOps;
  return {
    readOpsPerSecond: reads / seconds,
    writeOpsPerSecond: writes / seconds,
    readBytesPerSecond: (b.readBytes - a.readBytes) / seconds,
    writeBytesPerSecond: (b.writeBytes - a.writeBytes) / seconds,
    readLatencyMs: reads === 0 ? null : (b.readMicros - a.readMicros) / reads / 1000,
    writeLatencyMs: writes === 0 ? null : (b.writeMicros - a.writeMicros) / writes / 1000,
  };
}

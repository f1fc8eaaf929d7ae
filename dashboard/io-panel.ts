/** What clients do right now: operations, throughput and latency, with the last minutes behind them. */
import type { ClusterView, IoView } from '../shared/model/api-views.ts';
import { formatBytes, formatCount, formatLatency } from './figures.ts';
import { CLUSTER, type History, type Series } from './history.ts';
import { html, type Markup } from './html.ts';
import { type Line, Sparkline } from './sparkline.ts';

const OPS: readonly Line[] = [
  { name: 'read', read: (io) => io.readOpsPerSecond },
  { name: 'write', read: (io) => io.writeOpsPerSecond },
];
const BYTES: readonly Line[] = [
  { name: 'read', read: (io) => io.readBytesPerSecond },
  { name: 'write', read: (io) => io.writeBytesPerSecond },
];
const LATENCY: readonly Line[] = [
  { name: 'read', read: (io) => io.readLatencyMs ?? 0 },
  { name: 'write', read: (io) => io.writeLatencyMs ?? 0 },
];

interface IoProps {
  readonly cluster: ClusterView;
  readonly history: History;
}

export function IoPanel({ cluster, history }: IoProps): Markup {
  const series = history.of(CLUSTER);
  const { io } = cluster;
  const rate = (bytes: number) => `${formatBytes(bytes)}/s`;
  return html`<section class="panel panel-io" aria-labelledby="io-title">
    <h2 id="io-title">Activity
      <span class="io-keys"><span class="key key-read"></span>read <span class="key key-write"></span>write</span>
    </h2>
    <div class="io-rows">
      <${IoRow} title="Operations" unit="per second" series=${series} lines=${OPS} io=${io} format=${formatCount} />
      <${IoRow} title="Throughput" unit="" series=${series} lines=${BYTES} io=${io} format=${rate} />
      <${IoRow} title="Latency" unit="(mean)" series=${series} lines=${LATENCY} io=${io}
        format=${(ms: number) => formatLatency(ms === 0 ? null : ms)} />
    </div>
  </section>`;
}

interface IoRowProps {
  readonly title: string;
  readonly unit: string;
  readonly series: Series;
  readonly lines: readonly Line[];
  readonly io: IoView;
  readonly format: (value: number) => string;
}

function IoRow({ title, unit, series, lines, io, format }: IoRowProps): Markup {
  return html`<div class="io-row">
    <div class="io-title">${title}<span class="muted small"> ${unit}</span></div>
    ${lines.map(
      (
        line,
      ) => html`<div class="io-figure" key=${line.name}><span class="hidden">${line.name} </span>
        <span class="key key-${line.name}" aria-hidden="true"></span>${format(line.read(io))}</div>`,
    )}
    <${Sparkline} series=${series} lines=${lines} label=${title} format=${format} />
  </div>`;
}

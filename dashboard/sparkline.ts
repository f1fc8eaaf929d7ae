/** A small chart of one or two figures over the last minutes, with its content in words beside it. */

import type { IoView } from '../shared/model/api-views.ts';
import { HISTORY_MS, HISTORY_MS_MIN, type Series } from './history.ts';
import { html, type Markup } from './html.ts';

const WIDTH = 200;
const HEIGHT = 40;
/** Keeps the line's width inside the picture. */
const MARGIN = 2;
/** A sample draws at least every two seconds; a longer gap was no connection. */
const GAP_MS = 8000;

export interface Line {
  readonly name: 'read' | 'write';
  readonly read: (io: IoView) => number;
}

interface SparklineProps {
  readonly series: Series;
  readonly lines: readonly Line[];
  readonly label: string;
  readonly format: (value: number) => string;
}

export function Sparkline({ series, lines, label, format }: SparklineProps): Markup {
  const nowMs = series.at(-1)?.atMs ?? 0;
  const spanMs = Math.min(HISTORY_MS, Math.max(HISTORY_MS_MIN, nowMs - (series[0]?.atMs ?? 0)));
  const peak = Math.max(0, ...series.flatMap(({ io }) => lines.map((line) => line.read(io))));
  const x = (atMs: number) => WIDTH * (1 - (nowMs - atMs) / spanMs);
  const y = (value: number) =>
    HEIGHT - MARGIN - (peak === 0 ? 0 : (value / peak) * (HEIGHT - 2 * MARGIN));
  const path = (line: Line) =>
    series
      .map(({ atMs, io }, index) => {
        const before = series[index - 1];
        const isStart = before === undefined || atMs - before.atMs > GAP_MS;
        return `${isStart ? 'M' : 'L'}${x(atMs).toFixed(1)} ${y(line.read(io)).toFixed(1)}`;
      })
      .join('');
  const last = series.at(-1);
  const now = lines
    .map((line) => `${line.name} ${last === undefined ? 'unknown' : format(line.read(last.io))}`)
    .join(', ');
  const words = `${label}: now ${now}; highest in the last minutes ${format(peak)}`;
  return html`<svg class="spark" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none"
    role="img" aria-label=${words}>
    <title>${words}</title>
    <line class="spark-base" x1="0" x2=${WIDTH} y1=${HEIGHT - MARGIN / 2} y2=${HEIGHT - MARGIN / 2} />
    ${lines.map((line) => html`<path key=${line.name} class="spark-line spark-${line.name}" d=${path(line)} />`)}
  </svg>`;
}

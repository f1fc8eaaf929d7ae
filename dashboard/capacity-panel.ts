/** Capacity and its parts: used, free for new data, reserve for rebuilding; thresholds as marks. */
import type { CapacityView, ClusterView, PoolView } from '../shared/model/api-views.ts';
import { describeSelector } from '../shared/model/pool-selector.ts';
import { formatBytes, formatRatio } from './figures.ts';
import { html, type Markup } from './html.ts';

interface CapacityProps {
  readonly cluster: ClusterView;
  readonly pools: readonly PoolView[];
}

export function CapacityPanel({ cluster, pools }: CapacityProps): Markup {
  const { capacity } = cluster;
  const only = pools.length === 1 ? pools[0] : undefined;
  return html`<section class="panel panel-capacity" aria-labelledby="capacity-title">
    <h2 id="capacity-title">Capacity</h2>
    <p class="headline">
      <span class="figure" id="used-ratio">${formatRatio(capacity.usedRatio)}</span> used
      <span class="muted"> · room for <strong>${formatBytes(capacity.usableBytes)}</strong> of new data</span>
    </p>
    ${
      only === undefined
        ? html`<${CapacityBar} capacity=${capacity} name="all pools" />`
        : html`<${CapacityBar} capacity=${capacity} pool=${only} name=${`pool ${only.name}`} />`
    }
    <${Legend} capacity=${capacity} />
    ${pools.length > 1 && pools.map((pool) => html`<${PoolRow} key=${pool.name} pool=${pool} />`)}
    ${only !== undefined && html`<${PoolFacts} pool=${only} />`}
  </section>`;
}

interface BarProps {
  readonly capacity: CapacityView;
  readonly pool?: PoolView;
  readonly name: string;
}

function CapacityBar({ capacity, pool, name }: BarProps): Markup {
  const part = (bytes: number) => (capacity.rawBytes === 0 ? 0 : (bytes / capacity.rawBytes) * 100);
  const used = part(capacity.usedBytes);
  const reserve = part(capacity.reserveBytes);
  const free = Math.max(0, 100 - used - reserve);
  const words = `${name}: ${formatBytes(capacity.usedBytes)} used, ${formatBytes(capacity.freeBytes)} free, of which ${formatBytes(capacity.reserveBytes)} are kept for rebuilding, ${formatBytes(capacity.rawBytes)} in all`;
  const thresholds = pool === undefined ? [] : thresholdsOf(pool);
  return html`<div class="bar-box">
    <div class="bar" role="img" aria-label=${words} title=${words}>
      <span class="part part-used" style=${{ width: `${used}%` }}></span>
      <span class="part part-free" style=${{ width: `${free}%` }}></span>
      <span class="part part-reserve" style=${{ width: `${reserve}%` }}></span>
    </div>
    ${thresholds.map(
      ({ ratio, label, title }) => html`<span class="threshold" key=${label}
        style=${{ left: `${ratio * 100}%` }} title=${title}><span>${label}</span></span>`,
    )}
  </div>`;
}

function thresholdsOf(pool: PoolView) {
  const expand = {
    ratio: pool.expandAtRatio,
    label: `expand ${formatRatio(pool.expandAtRatio)}`,
    title: 'From this fill on the pool takes more disks by itself',
  };
  const full = {
    ratio: pool.fullAtRatio,
    label: `full ${formatRatio(pool.fullAtRatio)}`,
    title: 'From this fill on new data is refused; everything else goes on',
  };
  return pool.isAutoExpand ? [expand, full] : [full];
}

function Legend({ capacity }: { capacity: CapacityView }): Markup {
  const unreserved = Math.max(0, capacity.freeBytes - capacity.reserveBytes);
  return html`<dl class="legend">
    <div><dt><span class="key part-used"></span>Used</dt><dd>${formatBytes(capacity.usedBytes)}</dd></div>
    <div><dt><span class="key part-free"></span>Free</dt><dd>${formatBytes(unreserved)}</dd></div>
    <div><dt><span class="key part-reserve"></span>Reserve for rebuilding</dt><dd>${formatBytes(capacity.reserveBytes)}</dd></div>
    <div><dt>Raw</dt><dd>${formatBytes(capacity.rawBytes)}</dd></div>
    <div><dt>Promised to volumes</dt><dd>${formatBytes(capacity.provisionedBytes)}</dd></div>
  </dl>`;
}

/** A single pool has room for its settings. */
function PoolFacts({ pool }: { pool: PoolView }): Markup {
  const most = pool.diskCountMax === null ? '' : `, up to ${pool.diskCountMax} disks`;
  return html`<dl class="facts">
    <div><dt>Pool</dt><dd>${pool.name}${pool.isFull && html` <span class="tag tone-bad">full</span>`}</dd></div>
    <div><dt>Replicas</dt><dd>${pool.defaultReplicas}, each on its own ${pool.failureDomain}</dd></div>
    <div><dt>Expansion</dt><dd>${pool.isAutoExpand ? `by itself from ${formatRatio(pool.expandAtRatio)}${most}` : 'switched off'}</dd></div>
    <div><dt>Forecast</dt><dd title=${pool.forecast?.basis ?? ''}>${describeForecast(pool)}</dd></div>
    <div><dt>Evenness</dt><dd>every disk within ${(pool.fillDeviationRatio * 100).toFixed(1)} % of the mean</dd></div>
  </dl>`;
}

/** The basis is the title of where it is shown. */
function describeForecast({ forecast }: PoolView): string {
  if (forecast === null) return 'too few samples yet';
  if (forecast.fullInSeconds === null) return 'does not become fuller';
  const days = forecast.fullInSeconds / 86_400;
  return days < 2
    ? `full in ${Math.round(days * 24)} hours`
    : `full in ${Math.round(days).toLocaleString('en-US')} days`;
}

function PoolRow({ pool }: { pool: PoolView }): Markup {
  return html`<div class="pool-row">
    <p><strong>${pool.name}</strong> <span class="muted">${formatRatio(pool.capacity.usedRatio)} used · ${describePool(pool)}</span></p>
    <p class="muted">Takes ${describeSelector(pool.selector)}${pool.isLeaving && html` <span class="tag tone-warn">being deleted</span>`}</p>
    <${CapacityBar} capacity=${pool.capacity} pool=${pool} name=${`pool ${pool.name}`} />
  </div>`;
}

function describePool(pool: PoolView): string {
  const expansion = pool.isAutoExpand
    ? `expands by itself${pool.diskCountMax === null ? '' : ` up to ${pool.diskCountMax} disks`}`
    : 'does not expand by itself';
  const even = `fill within ${(pool.fillDeviationRatio * 100).toFixed(1)} % of the mean`;
  const full = pool.isFull ? 'FULL: new data is refused · ' : '';
  const future = describeForecast(pool);
  return `${full}${future} · ${pool.diskIds.length} disks, ${pool.defaultReplicas} replicas · ${expansion} · ${even}`;
}

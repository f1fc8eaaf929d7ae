/** Redundancy: placement groups by state, and the ones that lack replicas by name. */
import type { PgCounts, PgView } from '../shared/model/api-views.ts';
import type { PgSummaryView } from '../shared/model/stream-view.ts';
import { formatCount, formatRatio, plural } from './figures.ts';
import { html, type Markup } from './html.ts';

const STATES = [
  ['clean', 'good', 'all replicas in sync, where they should be'],
  ['misplaced', 'info', 'all replicas in sync, moving to a better place'],
  ['degraded', 'warn', 'a replica is missing and is being made again'],
  ['unavailable', 'bad', 'too few replicas: writes wait'],
] as const;

const LISTED_MAX = 6;

export function PgPanel({ summary }: { summary: PgSummaryView }): Markup {
  const { counts } = summary;
  return html`<section class="panel panel-pgs" aria-labelledby="pgs-title">
    <h2 id="pgs-title">Redundancy</h2>
    <p class="headline"><span class="figure">${shareInSync(counts)}</span>${' '}
      <span class="muted">of ${plural(counts.total, 'placement group')} have all replicas</span></p>
    <div class="bar" role="img" aria-label=${describeCounts(counts)} title=${describeCounts(counts)}>
      ${STATES.map(
        ([state, tone]) =>
          counts[state] > 0 &&
          html`<span class="part fill-${tone}" key=${state} style=${{ width: `${(counts[state] / counts.total) * 100}%` }}></span>`,
      )}
    </div>
    <dl class="legend legend-rows">
      ${STATES.map(
        ([
          state,
          tone,
          meaning,
        ]) => html`<div key=${state} title=${meaning} class=${counts[state] === 0 ? 'is-zero' : ''}>
          <dt><span class="key fill-${tone}"></span>${state}</dt><dd>${formatCount(counts[state])}</dd>
        </div>`,
      )}
    </dl>
    ${summary.unhealthy.length > 0 && html`<${Unhealthy} pgs=${summary.unhealthy} counts=${counts} />`}
  </section>`;
}

function shareInSync(counts: PgCounts): string {
  if (counts.total === 0) return '–';
  return formatRatio((counts.clean + counts.misplaced) / counts.total);
}

function describeCounts(counts: PgCounts): string {
  return STATES.map(([state]) => `${counts[state]} ${state}`).join(', ');
}

function Unhealthy({ pgs, counts }: { pgs: readonly PgView[]; counts: PgCounts }): Markup {
  const shown = pgs.slice(0, LISTED_MAX);
  const rest = counts.degraded + counts.unavailable - shown.length;
  return html`<p class="small muted pg-list">
    ${shown.map((pg) => html`<span class="chip" key=${pg.id} title=${`in sync on ${pg.inSync.join(', ') || 'no disk'}; joining: ${pg.joining.join(', ') || 'none'}`}>${pg.id} ${pg.inSync.length}/${pg.replicas}</span> `)}
    ${rest > 0 && html`<span>and ${formatCount(rest)} more</span>`}
  </p>`;
}

/** What is not as it should be, and what happens about it. A healthy cluster gets one quiet line. */
import type { ClusterView } from '../shared/model/api-views.ts';
import { HEALTH_TONES, plural } from './figures.ts';
import { html, type Markup } from './html.ts';

export function HealthPanel({ cluster }: { cluster: ClusterView }): Markup {
  const { reasons, health } = cluster;
  const tone = HEALTH_TONES[health];
  if (reasons.length === 0) {
    return html`<section class="panel panel-health tone-${tone}" aria-labelledby="health-title">
      <h2 id="health-title">${health === 'ok' ? 'All is well' : `The cluster is ${health}`}</h2>
      <p class="muted">
        ${cluster.nodesUp} of ${plural(cluster.nodeCount, 'node')} up,
        ${' '}${cluster.disksServing} of ${plural(cluster.diskCount, 'disk')} serving,
        ${' '}${plural(cluster.volumeCount, 'volume')}, ${cluster.attachedCount} attached. Nothing to do.
      </p>
    </section>`;
  }
  return html`<section class="panel panel-health tone-${tone}" aria-labelledby="health-title">
    <h2 id="health-title">${health === 'critical' ? 'Needs you now' : 'Needs attention'}</h2>
    <ul class="reasons">
      ${reasons.map(
        (reason) => html`<li key=${`${reason.subject} ${reason.message}`}>
          <span class="subject">${reason.subject}</span>
          <div>
            <p>${reason.message}</p>
            <p class="next"><span aria-hidden="true">→ </span><span class="hidden">Next: </span>${reason.next}</p>
          </div>
        </li>`,
      )}
    </ul>
  </section>`;
}

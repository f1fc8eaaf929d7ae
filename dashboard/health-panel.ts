/** What is not as it should be, and what happens about it. A healthy cluster gets one quiet line. */

import { useState } from 'preact/hooks';
import type { ClusterView, HealthReason } from '../shared/model/api-views.ts';
import { Explanation } from './explanation.ts';
import { HEALTH_TONES, plural } from './figures.ts';
import { html, type Markup } from './html.ts';

/** More push everything else off the screen; the rest folds away. */
const SHOWN_MAX = 5;

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
    <${ReasonList} reasons=${reasons.slice(0, SHOWN_MAX)} />
    ${
      reasons.length > SHOWN_MAX &&
      html`<details>
        <summary>and ${reasons.length - SHOWN_MAX} more</summary>
        <${ReasonList} reasons=${reasons.slice(SHOWN_MAX)} />
      </details>`
    }
  </section>`;
}

function ReasonList({ reasons }: { reasons: readonly HealthReason[] }): Markup {
  return html`<ul class="reasons">
    ${reasons.map(
      (reason) => html`<${Reason} key=${`${reason.subject} ${reason.message}`} reason=${reason} />`,
    )}
  </ul>`;
}

function Reason({ reason }: { reason: HealthReason }): Markup {
  const [isOpen, setOpen] = useState(false);
  return html`<li>
    <span class="subject">${reason.subject}</span>
    <div>
      <p>${reason.message}</p>
      <p class="next"><span aria-hidden="true">→ </span><span class="hidden">Next: </span>${reason.next}
        ${' '}<button type="button" class="more why" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)}>${isOpen ? 'Close' : 'Why?'}</button></p>
      ${isOpen && html`<${Explanation} subject=${reason.subject} />`}
    </div>
  </li>`;
}

/** What happened lately, newest first. */
import type { EventView } from '../shared/model/api-views.ts';
import { formatTime, type Tone } from './figures.ts';
import { html, type Markup } from './html.ts';

const TONES: Readonly<Record<EventView['severity'], Tone>> = {
  info: 'idle',
  warning: 'warn',
  error: 'bad',
};

interface EventsProps {
  readonly events: readonly EventView[];
  readonly at: string;
}

export function EventsPanel({ events, at }: EventsProps): Markup {
  const now = new Date(at);
  return html`<section class="panel panel-events" aria-labelledby="events-title">
    <h2 id="events-title">Events</h2>
    ${events.length === 0 && html`<p class="muted">Nothing happened yet.</p>`}
    <ol class="events" tabindex="0" aria-label="Events, newest first" role="log">
      ${events.toReversed().map(
        (event) => html`<li key=${event.id} class="event event-${event.severity}">
          <time datetime=${event.at}>${formatTime(event.at, now)}</time>
          <span class="dot tone-${TONES[event.severity]}" aria-hidden="true"></span>
          <span>${event.severity !== 'info' && html`<span class="hidden">${event.severity}: </span>`}${event.message}</span>
        </li>`,
      )}
    </ol>
  </section>`;
}

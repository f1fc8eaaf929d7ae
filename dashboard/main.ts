/** Starts the page: connects, keeps the history, draws. */
import { render } from 'preact';
import { App } from './app.ts';
import { History } from './history.ts';
import { html } from './html.ts';
import { type FeedState, LiveFeed } from './live-feed.ts';

const root = document.getElementById('app');
if (root === null) throw new Error('The page has no element "app"');

const history = new History();
let lastAtMs = -1;

function draw(target: HTMLElement, state: FeedState): void {
  if (state.snapshot !== null && state.receivedAtMs !== lastAtMs) {
    lastAtMs = state.receivedAtMs;
    history.add(state.snapshot, lastAtMs);
  }
  if (state.snapshot !== null) {
    const { name, health } = state.snapshot.cluster;
    document.title = health === 'ok' ? `${name} – Cistern` : `(${health}) ${name} – Cistern`;
  }
  render(html`<${App} state=${state} history=${history} nowMs=${performance.now()} />`, target);
}

new LiveFeed((state) => draw(root, state)).start();

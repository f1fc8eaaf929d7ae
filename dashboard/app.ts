/** The page: what is wrong on top, then capacity and I/O, jobs, nodes, volumes, events. */
import type { SnapshotView } from '../shared/model/stream-view.ts';
import { AgentsPanel } from './agents-panel.ts';
import { CapacityPanel } from './capacity-panel.ts';
import { EventsPanel } from './events-panel.ts';
import { formatDuration, HEALTH_TONES } from './figures.ts';
import { HealthPanel } from './health-panel.ts';
import type { History } from './history.ts';
import { html, type Markup } from './html.ts';
import { IoPanel } from './io-panel.ts';
import { JobsPanel } from './jobs-panel.ts';
import { type FeedState, STALE_MS } from './live-feed.ts';
import { NodesPanel } from './nodes-panel.ts';
import { PgPanel } from './pg-panel.ts';
import { VolumesPanel } from './volumes-panel.ts';

interface AppProps {
  readonly state: FeedState;
  readonly history: History;
  /** On the clock of `receivedAtMs`. */
  readonly nowMs: number;
}

export function App({ state, history, nowMs }: AppProps): Markup {
  const { snapshot } = state;
  const ageMs = nowMs - state.receivedAtMs;
  const isStale = snapshot !== null && ageMs > STALE_MS;
  return html`<div class=${isStale ? 'page is-stale' : 'page'}>
    <${Header} snapshot=${snapshot} state=${state} ageMs=${ageMs} isStale=${isStale} />
    ${isStale && html`<${StaleBanner} ageMs=${ageMs} problem=${state.problem} />`}
    ${
      snapshot === null
        ? html`<main class="waiting" aria-busy="true">
            <p>${state.problem === '' ? 'Waiting for the first figures …' : `No figures yet: ${state.problem}. Trying again …`}</p>
          </main>`
        : html`<${Panels} snapshot=${snapshot} history=${history} />`
    }
  </div>`;
}

interface HeaderProps {
  readonly snapshot: SnapshotView | null;
  readonly state: FeedState;
  readonly ageMs: number;
  readonly isStale: boolean;
}

function Header({ snapshot, state, ageMs, isStale }: HeaderProps): Markup {
  const cluster = snapshot?.cluster;
  return html`<header class="top">
    <${Mark} />
    <h1>Cistern ${cluster && html`<span class="cluster-name">${cluster.name}</span>`}</h1>
    ${
      cluster &&
      html`<span class="pill tone-${HEALTH_TONES[cluster.health]}" id="health" role="status">${cluster.health}</span>`
    }
    <span class="grow"></span>
    ${
      cluster &&
      html`<span class="meta">
          ${cluster.isMesosConnected ? 'Mesos connected' : html`<strong class="text-warn">Mesos not connected</strong>`}
          ${' · '}leading for ${formatDuration(cluster.uptimeSeconds * 1000)} · v${cluster.version}
        </span>`
    }
    <span class="live ${isStale || !state.isConnected ? 'is-off' : ''}" id="connection" role="status">
      <span class="live-dot" aria-hidden="true"></span>
      ${describeConnection(state, ageMs, isStale)}
    </span>
    <a class="meta" href="/docs">API</a>
  </header>`;
}

function describeConnection(state: FeedState, ageMs: number, isStale: boolean): string {
  if (isStale) return 'stale';
  if (state.isConnected) return 'live';
  return state.snapshot === null ? 'connecting' : `reconnecting, ${Math.round(ageMs / 1000)} s old`;
}

function StaleBanner({ ageMs, problem }: { ageMs: number; problem: string }): Markup {
  return html`<p class="banner" role="alert" id="stale">
    <strong>This page shows the past:</strong> no news for ${formatDuration(ageMs)}${problem === '' ? '' : `, ${problem}`}.
    Trying again by itself; volumes go on serving meanwhile.
  </p>`;
}

function Mark(): Markup {
  return html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
    <rect class="mark-box" x="3" y="3" width="26" height="26" rx="7" />
    <path class="mark-water" d="M3 18c4.3-3 8.700 3 13 0s8.700-3 13 0v4a7 7 0 0 1-7 7H10a7 7 0 0 1-7-7z" />
  </svg>`;
}

function Panels({ snapshot, history }: { snapshot: SnapshotView; history: History }): Markup {
  return html`<main class="panels">
    <${HealthPanel} cluster=${snapshot.cluster} />
    <${CapacityPanel} cluster=${snapshot.cluster} pools=${snapshot.pools} />
    <${IoPanel} cluster=${snapshot.cluster} history=${history} />
    <div class="stack">
      <${PgPanel} summary=${snapshot.pgSummary} />
      <${JobsPanel} jobs=${snapshot.jobs} at=${snapshot.at} />
    </div>
    <${NodesPanel} nodes=${snapshot.nodes} disks=${snapshot.disks} pools=${snapshot.pools} />
    <${VolumesPanel} volumes=${snapshot.volumes} history=${history} />
    <${AgentsPanel} />
    <${EventsPanel} events=${snapshot.events} at=${snapshot.at} />
  </main>`;
}

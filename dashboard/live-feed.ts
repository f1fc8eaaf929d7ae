/**
 * The connection to `/v1/stream`: the newest snapshot, how old it is, and what is being done when there
 * is none. Reconnects by itself, also when the connection is silent without being closed.
 */
import type { SnapshotView } from '../shared/model/stream-view.ts';

/** The scheduler sends a snapshot every three seconds at least: three in a row are missing. */
export const STALE_MS = 10_000;
/** Then the connection is taken for dead and opened anew. */
const SILENT_MS = 15_000;
const RECONNECT_MS = 2000;
const LOOK_MS = 1000;

export interface FeedState {
  readonly snapshot: SnapshotView | null;
  /** On the page's own clock, so that a wrong clock anywhere does not matter. */
  readonly receivedAtMs: number;
  readonly isConnected: boolean;
  /** Why there is no connection, as far as it is known. */
  readonly problem: string;
}

export class LiveFeed {
  readonly #onChange: (state: FeedState) => void;
  #source: EventSource | null = null;
  #openedAtMs = 0;
  #state: FeedState = { snapshot: null, receivedAtMs: 0, isConnected: false, problem: '' };

  constructor(onChange: (state: FeedState) => void) {
    this.#onChange = onChange;
  }

  start(): void {
    this.#open();
    setInterval(() => this.#look(), LOOK_MS);
  }

  #open(): void {
    this.#source?.close();
    this.#openedAtMs = performance.now();
    const source = new EventSource('/v1/stream');
    this.#source = source;
    source.addEventListener('snapshot', (event) => {
      const snapshot = JSON.parse(event.data) as SnapshotView;
      this.#set({ snapshot, receivedAtMs: performance.now(), isConnected: true, problem: '' });
    });
    source.addEventListener('error', () => {
      this.#set({ ...this.#state, isConnected: false });
      void this.#findProblem();
      // After a refusal the browser gives up; after a lost connection it comes back by itself.
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(() => {
          if (this.#source === source) this.#open();
        }, RECONNECT_MS);
      }
    });
  }

  /** Ages are shown: somebody has to notice that time goes by. */
  #look(): void {
    const now = performance.now();
    const heardAtMs = Math.max(this.#state.receivedAtMs, this.#openedAtMs);
    if (now - heardAtMs > SILENT_MS) this.#open();
    this.#set({ ...this.#state });
  }

  async #findProblem(): Promise<void> {
    let problem = 'the scheduler cannot be reached';
    try {
      const response = await fetch('/health', { signal: AbortSignal.timeout(RECONNECT_MS) });
      const health = (await response.json()) as { isLeading: boolean; reason: string };
      problem = health.isLeading ? '' : health.reason;
    } catch {
      // Not reachable: that is what the text says.
    }
    if (!this.#state.isConnected) this.#set({ ...this.#state, problem });
  }

  #set(state: FeedState): void {
    this.#state = state;
    this.#onChange(state);
  }
}

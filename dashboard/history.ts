/**
 * The last minutes of I/O figures, of the cluster and of every volume, gathered while the page is open
 * (the scheduler keeps none). Bounded in time and in the number of volumes.
 */
import type { IoView } from '../shared/model/api-views.ts';
import type { SnapshotView } from '../shared/model/stream-view.ts';

export const HISTORY_MS = 5 * 60_000;
/** What the chart of a page that was just opened covers. */
export const HISTORY_MS_MIN = 30_000;

export interface Sample {
  readonly atMs: number;
  readonly io: IoView;
}

export type Series = readonly Sample[];

/** The key of the sums over all volumes. */
export const CLUSTER = '';

export class History {
  #series = new Map<string, Sample[]>();

  /** Volumes that are no longer attached fall out. */
  add(snapshot: SnapshotView, atMs: number): void {
    const next = new Map<string, Sample[]>();
    const keep = (key: string, io: IoView): void => {
      const series = this.#series.get(key) ?? [];
      series.push({ atMs, io });
      while ((series[0]?.atMs ?? atMs) < atMs - HISTORY_MS) series.shift();
      next.set(key, series);
    };
    keep(CLUSTER, snapshot.cluster.io);
    for (const attachment of snapshot.attachments) keep(attachment.volume, attachment.io);
    this.#series = next;
  }

  of(key: string): Series {
    return this.#series.get(key) ?? [];
  }
}

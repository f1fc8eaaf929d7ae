/**
 * When the last map is written to the node's disks: soon after a change, and at most once a second
 * however many changes there are (a rebalance makes many). Encoding a large map takes a moment, which is
 * spent in the executor and not in the data process.
 */
import type { ClusterMap } from '../shared/model/cluster-map.ts';
import type { Clock, Timer } from '../shared/ports.ts';
import { encodeDurableMap } from '../shared/wire/durable-map.ts';

export interface MapKeeperModules {
  readonly clock: Clock;
  /** Map and facts as a `map` message of the control link (control-codec.ts). */
  encode(map: ClusterMap, facts: ReadonlyMap<string, string>): Buffer;
  /** Puts the record on all disks of the node. */
  keep(record: Uint8Array): void;
}

/** Changes of one moment go together. */
const GATHER_MS = 200;
const INTERVAL_MS = 1_000;

export class MapKeeper {
  readonly #modules: MapKeeperModules;
  #latest: { readonly map: ClusterMap; readonly facts: ReadonlyMap<string, string> } | null = null;
  #timer: Timer | null = null;
  #lastAtMs = Number.NEGATIVE_INFINITY;

  constructor(modules: MapKeeperModules) {
    this.#modules = modules;
  }

  /** `facts` may change until the next call: what counts is what they hold when the map is written. */
  note(map: ClusterMap, facts: ReadonlyMap<string, string>): void {
    this.#latest = { map, facts };
    if (this.#timer !== null) return;
    const { clock } = this.#modules;
    const waitMs = Math.max(GATHER_MS, this.#lastAtMs + INTERVAL_MS - clock.now());
    this.#timer = clock.after(waitMs, () => this.#write());
  }

  /** The last map as it would be written now; null before the first. */
  record(): Buffer | null {
    if (this.#latest === null) return null;
    const { clock, encode } = this.#modules;
    const { map, facts } = this.#latest;
    const { term, version } = map;
    return encodeDurableMap({ term, version, writtenAtMs: clock.wall(), body: encode(map, facts) });
  }

  close(): void {
    this.#timer?.cancel();
  }

  #write(): void {
    this.#timer = null;
    this.#lastAtMs = this.#modules.clock.now();
    const record = this.record();
    if (record !== null) this.#modules.keep(record);
  }
}

/**
 * The simulated `DiskIndex`: committed entries survive everything, a commit under way is there as a
 * whole or not at all. `SimulatedIndexContent` is the platter, `SimulatedIndex` one opening of it.
 */
import type { Prng } from '../../../shared/base/prng.ts';
import type { DiskFailure, DiskIndex, IndexChange } from '../../../shared/ports.ts';

/** Runs `effect` after the disk's latency, then calls `done`; or fails; or never, after a crash. */
export type Schedule = (
  op: 'commit',
  name: string,
  effect: () => void,
  done: (failure: DiskFailure | null) => void,
) => void;

export class SimulatedIndexContent {
  /** Keys as Latin-1 text, so that they compare as bytes do. */
  readonly entries = new Map<string, Uint8Array>();

  /** Flips one bit of one value whose key begins so; false when there is none. */
  flipBit(keyStart: string, prng: Prng): boolean {
    const keys = [...this.entries.keys()].filter((key) => key.startsWith(keyStart)).sort();
    if (keys.length === 0) return false;
    const key = prng.pick(keys);
    const value = Uint8Array.from(this.entries.get(key) ?? []);
    if (value.length === 0) return false;
    const at = prng.below(value.length);
    value[at] = (value[at] ?? 0) ^ (1 << prng.below(8));
    this.entries.set(key, value);
    return true;
  }

  apply(changes: readonly IndexChange[]): void {
    for (const { key, value } of changes) {
      if (value === null) this.entries.delete(toText(key));
      else this.entries.set(toText(key), value);
    }
  }
}

export class SimulatedIndex implements DiskIndex {
  readonly #content: SimulatedIndexContent;
  readonly #schedule: Schedule;
  readonly #name: string;

  constructor(name: string, content: SimulatedIndexContent, schedule: Schedule) {
    this.#name = name;
    this.#content = content;
    this.#schedule = schedule;
  }

  get(key: Uint8Array): Uint8Array | null {
    const value = this.#content.entries.get(toText(key));
    return value === undefined ? null : Uint8Array.from(value);
  }

  *range(from: Uint8Array, to: Uint8Array): Iterable<{ key: Uint8Array; value: Uint8Array }> {
    const first = toText(from);
    const last = toText(to);
    const keys = [...this.#content.entries.keys()].filter((key) => key >= first && key < last);
    for (const key of keys.sort()) {
      const value = this.#content.entries.get(key);
      if (value !== undefined) yield { key: fromText(key), value: Uint8Array.from(value) };
    }
  }

  commit(changes: readonly IndexChange[], done: (failure: DiskFailure | null) => void): void {
    // The caller may reuse its buffers as soon as this returns.
    const copies = changes.map(({ key, value }) => ({
      key: Uint8Array.from(key),
      value: value === null ? null : Uint8Array.from(value),
    }));
    this.#schedule('commit', this.#name, () => this.#content.apply(copies), done);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function toText(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function fromText(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

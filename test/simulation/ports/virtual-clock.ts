/**
 * Virtual time: a heap of timers ordered by (time, sequence). Nothing happens between two timers, so
 * an hour of a quiet cluster takes no time at all. After every timer one macrotask passes, so that
 * chains of promises settle before the next one fires; that makes runs repeatable.
 */
import { assert } from '../../../shared/base/assert.ts';
import type { Clock, Timer } from '../../../shared/ports.ts';

interface Entry extends Timer {
  readonly atMs: number;
  readonly sequence: number;
  action: (() => void) | null;
}

/** 2026-01-01: any fixed moment will do. */
const WALL_START_MS = 1_767_225_600_000;

export class VirtualClock implements Clock {
  #nowMs = 0;
  #sequence = 0;
  readonly #heap: Entry[] = [];
  #firedCount = 0;

  now(): number {
    return this.#nowMs;
  }

  wall(): number {
    return WALL_START_MS + this.#nowMs;
  }

  /** How many timers have fired: a measure of work, and part of a run's trace. */
  get firedCount(): number {
    return this.#firedCount;
  }

  after(ms: number, action: () => void): Timer {
    const entry: Entry = {
      atMs: this.#nowMs + Math.max(0, ms),
      sequence: this.#sequence,
      action,
      cancel: () => {
        entry.action = null;
      },
    };
    this.#sequence += 1;
    this.#push(entry);
    return entry;
  }

  /** Fires timers until `untilMs`, then stands there. */
  async runUntil(untilMs: number): Promise<void> {
    assert(untilMs >= this.#nowMs, 'time does not go back', { now: this.#nowMs, untilMs });
    await settle();
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > untilMs) break;
      await this.#fire();
    }
    this.#nowMs = untilMs;
  }

  runFor(ms: number): Promise<void> {
    return this.runUntil(this.#nowMs + ms);
  }

  /** Runs until `condition` holds, asked after every timer; false when the time ran out first. */
  async runWhile(condition: () => boolean, limitMs: number): Promise<boolean> {
    const untilMs = this.#nowMs + limitMs;
    await settle();
    while (condition()) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > untilMs) return false;
      await this.#fire();
    }
    return true;
  }

  async #fire(): Promise<void> {
    const entry = this.#pop();
    if (entry.action === null) return;
    this.#nowMs = entry.atMs;
    const action = entry.action;
    entry.action = null;
    this.#firedCount += 1;
    action();
    await settle();
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    heap.push(entry);
    let index = heap.length - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (isBefore(heap[parent] as Entry, entry)) break;
      heap[index] = heap[parent] as Entry;
      index = parent;
    }
    heap[index] = entry;
  }

  #pop(): Entry {
    const heap = this.#heap;
    const first = heap[0] as Entry;
    const last = heap.pop() as Entry;
    if (heap.length > 0) {
      let index = 0;
      for (;;) {
        let child = index * 2 + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && isBefore(heap[child + 1] as Entry, heap[child] as Entry)) {
          child += 1;
        }
        if (isBefore(last, heap[child] as Entry)) break;
        heap[index] = heap[child] as Entry;
        index = child;
      }
      heap[index] = last;
    }
    return first;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence);
}

/** One macrotask: every promise that can settle without time passing has settled afterwards. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

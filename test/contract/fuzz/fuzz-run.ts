/**
 * Fuzzes one target in a thread of its own, and watches it: an input that never ends, or that takes the
 * thread down, is named like any other failure.
 */
import { Worker } from 'node:worker_threads';
import { type FuzzFailure, inputOf } from './fuzz-loop.ts';
import type { FuzzOrder } from './fuzz-worker.ts';
import { loadTarget } from './targets.ts';

/** No input needs more than milliseconds; a busy machine may make that seconds. */
const STUCK_MS = 60_000;

export interface FuzzRunOptions {
  readonly target: string;
  readonly seed: number;
  readonly count: number;
  readonly endMs?: number;
}

export interface FuzzResult {
  readonly count: number;
  readonly failure: FuzzFailure | null;
}

export async function fuzzTarget(options: FuzzRunOptions): Promise<FuzzResult> {
  const progress = new Int32Array(new SharedArrayBuffer(4));
  const { target, seed, count, endMs = Number.POSITIVE_INFINITY } = options;
  const order: FuzzOrder = { target, seed, count, endMs, progress };
  const worker = new Worker(new URL('fuzz-worker.js', import.meta.url), {
    workerData: order,
    // Far above what any target may take, far below what would hurt the machine.
    resourceLimits: { maxOldGenerationSizeMb: 512 },
  });
  const outcome = await watch(worker, progress);
  await worker.terminate();
  if (typeof outcome !== 'string') return outcome;
  const number = Atomics.load(progress, 0);
  const input = inputOf(await loadTarget(target), seed, number);
  return { count: number, failure: { target, number, input, reason: outcome } };
}

function watch(worker: Worker, progress: Int32Array): Promise<FuzzResult | string> {
  return new Promise((resolve) => {
    let last = -1;
    let sinceMs = Date.now();
    const timer = setInterval(() => {
      const now = Atomics.load(progress, 0);
      if (now !== last) sinceMs = Date.now();
      last = now;
      if (Date.now() - sinceMs > STUCK_MS) finish(`An input was not done after ${STUCK_MS} ms`);
    }, 1000);
    const finish = (outcome: FuzzResult | string): void => {
      clearInterval(timer);
      resolve(outcome);
    };
    worker.on('message', (result: FuzzResult) => finish(result));
    worker.on('error', (error) => finish(`The thread died: ${error.stack ?? error.message}`));
    worker.on('exit', (code) => finish(`The thread ended with code ${code}`));
  });
}

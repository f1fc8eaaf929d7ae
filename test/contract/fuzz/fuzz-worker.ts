/** The thread that feeds targets: its parent watches that it gets on (fuzz-run.ts). */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../../shared/base/assert.ts';
import { fuzz } from './fuzz-loop.ts';
import { loadTarget } from './targets.ts';

export interface FuzzOrder {
  readonly target: string;
  readonly seed: number;
  readonly count: number;
  readonly endMs: number;
  /** Number of the input that is being fed. */
  readonly progress: Int32Array;
}

const order = workerData as FuzzOrder;
assert(parentPort !== null, 'this runs as a thread');
const target = await loadTarget(order.target);
const result = await fuzz({
  target,
  seed: order.seed,
  count: order.count,
  endMs: order.endMs,
  onInput: (number) => {
    Atomics.store(order.progress, 0, number);
  },
});
await target.close?.();
parentPort.postMessage(result);

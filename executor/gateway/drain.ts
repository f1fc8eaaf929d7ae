/** What a gateway needs to come to rest: the last flush as a request, and waiting for a condition. */
import type { Clock } from '../../shared/ports.ts';
import type { BlockRequest } from './block-device.ts';

/** A detach is no hot path: looking again every so often is simple and soon enough. */
const LOOK_MS = 10;

export function flushRequest(onDone: () => void): BlockRequest {
  return {
    op: 'flush',
    offset: 0,
    length: 0,
    isDurable: false,
    mayUnmap: false,
    data: null,
    statuses: null,
    error: null,
    onDone,
  };
}

/** `condition` must become true by itself some time: it includes the deadline. */
export async function waitUntil(clock: Clock, condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise<void>((resolve) => {
      clock.after(LOOK_MS, resolve);
    });
  }
}

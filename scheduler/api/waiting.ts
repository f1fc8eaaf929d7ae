/**
 * Waits, bounded, until the manager's state shows what a caller asked for. Looks after every committed
 * step and twice a second besides, because what nodes report need not commit anything.
 */
import { StorageError } from '../../shared/base/errors.ts';
import type { ManagerPort } from './manager-port.ts';

const LOOK_MS = 500;
/** A caller may ask for this; load balancers rarely allow more than a minute. */
export const WAIT_SECONDS_MAX = 300;
export const WAIT_SECONDS_DEFAULT = 15;

export interface WaitOptions {
  readonly waitMs: number;
  /** The caller has gone: nobody waits for the answer. */
  readonly signal: AbortSignal;
}

/**
 * Resolves with what `find` returns as soon as that is not null, with null at the deadline or when
 * the caller went away. Rejects with what `find` throws, and with `unavailable` when the manager
 * stops leading.
 */
export function waitUntil<Found>(
  manager: ManagerPort,
  find: () => Found | null,
  options: WaitOptions,
): Promise<Found | null> {
  return new Promise((resolve, reject) => {
    let isOver = false;
    const finish = (settle: () => void): void => {
      if (isOver) return;
      isOver = true;
      clearInterval(interval);
      clearTimeout(deadline);
      unsubscribe();
      options.signal.removeEventListener('abort', giveUp);
      settle();
    };
    const giveUp = (): void => finish(() => resolve(null));
    const look = (): void => {
      try {
        assertLeading(manager);
        const found = find();
        if (found !== null) finish(() => resolve(found));
      } catch (error) {
        finish(() => reject(error));
      }
    };
    const interval = setInterval(look, LOOK_MS);
    const deadline = setTimeout(giveUp, options.waitMs);
    const unsubscribe = manager.subscribe(look);
    options.signal.addEventListener('abort', giveUp);
    if (options.signal.aborted) giveUp();
    else look();
  });
}

/** Throws `unavailable` while this scheduler does not lead. */
export function assertLeading(manager: ManagerPort): void {
  const { isLeading, reason } = manager.leadership();
  if (isLeading) return;
  throw new StorageError('unavailable', `This scheduler does not lead the cluster: ${reason}`, {
    reason,
  });
}

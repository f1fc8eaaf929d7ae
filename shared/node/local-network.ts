/**
 * Connections inside one process: the very same frames as over TCP, handed over as objects, without
 * bytes in between. Frames sent in one tick arrive together, in order, in a later turn (`defer`), so
 * that a handler never runs inside `send`. Also `routeNetwork`, which sends `local:NAME` here and
 * everything else to another network.
 */
import { StorageError } from '../base/errors.ts';
import type { Connection, ConnectionHandlers, Listener, Network } from '../ports.ts';
import type { DataFrame } from '../wire/data-protocol.ts';

export const LOCAL_PREFIX = 'local:';

/** Runs the action soon, after the caller has returned (`process.nextTick`, or the simulated clock). */
export type Defer = (action: () => void) => void;

type Accept = (connection: Connection) => ConnectionHandlers;

export class LocalNetwork implements Network {
  readonly #defer: Defer;
  readonly #listeners = new Map<string, { accept: Accept; ends: Set<LocalEnd> }>();

  constructor(defer: Defer) {
    this.#defer = defer;
  }

  connect(address: string, handlers: ConnectionHandlers): Connection {
    const near = new LocalEnd(this.#defer);
    const listener = this.#listeners.get(address);
    near.handlers = handlers;
    if (listener === undefined) {
      near.endLater(`Nobody listens on "${address}"`);
      return near;
    }
    const far = new LocalEnd(this.#defer);
    near.other = far;
    far.other = near;
    listener.ends.add(far);
    far.onEnded = () => listener.ends.delete(far);
    far.handlers = listener.accept(far);
    return near;
  }

  listen(address: string, accept: Accept): Promise<Listener> {
    if (this.#listeners.has(address)) {
      return Promise.reject(
        new StorageError('unavailable', `Listen on "${address}": somebody listens there already`),
      );
    }
    const entry = { accept, ends: new Set<LocalEnd>() };
    this.#listeners.set(address, entry);
    return Promise.resolve({
      address,
      close: () => {
        if (this.#listeners.get(address) !== entry) return;
        this.#listeners.delete(address);
        for (const end of [...entry.ends]) end.close('The listener was closed');
      },
    });
  }
}

/** `local:` addresses go to `local`, all others to `remote`. */
export function routeNetwork(local: Network, remote: Network): Network {
  const pick = (address: string): Network => (address.startsWith(LOCAL_PREFIX) ? local : remote);
  return {
    connect: (address, handlers) => pick(address).connect(address, handlers),
    listen: (address, accept) => pick(address).listen(address, accept),
  };
}

/** One of the two ends: what it sends is queued at the other until the next turn. */
class LocalEnd implements Connection {
  readonly peer = 'local';
  readonly queuedBytes = 0;
  handlers: ConnectionHandlers | null = null;
  other: LocalEnd | null = null;
  onEnded: (() => void) | null = null;
  readonly #defer: Defer;
  readonly #deliver = (): void => this.#deliverInbox();
  #inbox: DataFrame[] = [];
  #spare: DataFrame[] = [];
  #isScheduled = false;
  #isClosed = false;
  #reason: string | null = null;

  constructor(defer: Defer) {
    this.#defer = defer;
  }

  send(frame: DataFrame): void {
    if (this.#isClosed) return;
    this.other?.receive(frame);
  }

  close(reason: string): void {
    this.other?.endLater(reason);
    this.endLater(reason);
  }

  receive(frame: DataFrame): void {
    if (this.#isClosed) return;
    this.#inbox.push(frame);
    this.#schedule();
  }

  endLater(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#reason = reason;
    this.#inbox = [];
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#defer(this.#deliver);
  }

  #deliverInbox(): void {
    this.#isScheduled = false;
    if (this.#reason !== null) {
      const reason = this.#reason;
      this.#reason = null;
      this.onEnded?.();
      this.handlers?.onClose(reason);
      return;
    }
    const frames = this.#inbox;
    this.#inbox = this.#spare;
    for (const frame of frames) {
      if (this.#isClosed) break;
      this.handlers?.onFrame(frame);
    }
    frames.length = 0;
    this.#spare = frames;
  }
}

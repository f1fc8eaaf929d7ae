/**
 * What the stand-in does wrong on command: the master and the agents ask here before they write a
 * stream, send a heartbeat or forward an update. All off at first.
 */

export type Chunking = 'record' | 'bytes' | 'coalesce' | 'random';

export type Misbehaviour = {
  /**
   * How event streams are cut: one chunk a record, single bytes, many records a chunk, anywhere.
   */
  readonly chunking: Chunking;
  /** No heartbeats; connections stay open (a half-open TCP connection looks like this). */
  readonly stopHeartbeats: boolean;
  /** Nothing at all is written to scheduler streams any more. */
  readonly silence: boolean;
  /** Task updates reach the scheduler this much later. Real milliseconds. */
  readonly delayUpdatesMs: number;
  /** Every task update is delivered twice. */
  readonly duplicateUpdates: boolean;
  /** Operations reach the master but never the agent: reservations show up and vanish again. */
  readonly loseOperations: boolean;
  /** Calls of schedulers are answered with 503. */
  readonly refuseCalls: boolean;
};

export const WELL_BEHAVED: Misbehaviour = {
  chunking: 'record',
  stopHeartbeats: false,
  silence: false,
  delayUpdatesMs: 0,
  duplicateUpdates: false,
  loseOperations: false,
  refuseCalls: false,
};

/** One changeable set for the whole stand-in. */
export class MisbehaviourSwitch {
  #current: Misbehaviour = WELL_BEHAVED;

  get current(): Misbehaviour {
    return this.#current;
  }

  /** Changes the given points; the others stay as they are. */
  set(changes: Partial<Misbehaviour>): void {
    this.#current = { ...this.#current, ...changes };
  }
}

/**
 * A scheduler that was deposed tells nobody anything: neither Mesos nor an executor. It need not know at once, so
 * it has the time for which a proof of its leadership holds (scheduler/leadership/guard.ts), and no more.
 */

import { LEADERSHIP_DOUBT_MS } from '../../../scheduler/core/nodes/node-life.ts';
import type { AnnouncePort, ControlPort, MesosPort } from '../../../scheduler/scheduler.ts';
import type { Clock } from '../../../shared/ports.ts';

/** Everything by which a scheduler speaks. */
export interface Voice {
  readonly mesos: MesosPort;
  readonly control: ControlPort;
  readonly announcer: AnnouncePort;
}

export class LeaderWatch {
  readonly #clock: Clock;
  readonly #onViolation: (what: string) => void;
  #term = 0;
  /** When each earlier term ended. */
  readonly #endedAtMs = new Map<number, number>();

  constructor(clock: Clock, onViolation: (what: string) => void) {
    this.#clock = clock;
    this.#onViolation = onViolation;
  }

  onElected(term: number): void {
    this.#endedAtMs.set(this.#term, this.#clock.now());
    this.#term = term;
  }

  /** The same, heard by the watch. */
  listen(term: number, { mesos, control, announcer }: Voice): Voice {
    const hear = (what: string): void => this.#hear(term, what);
    return {
      mesos: {
        call: (call) => {
          hear(`call ${call.type}`);
          mesos.call(call);
        },
      },
      control: {
        send: (session, message) => {
          hear(`message ${message.kind}`);
          control.send(session, message);
        },
        closeSession: (session, reason) => control.closeSession(session, reason),
      },
      announcer: {
        announce: (to, announcement) => {
          hear('announcement');
          announcer.announce(to, announcement);
        },
      },
    };
  }

  #hear(term: number, what: string): void {
    const endedAtMs = this.#endedAtMs.get(term);
    if (endedAtMs === undefined) return;
    const lateMs = this.#clock.now() - endedAtMs;
    if (lateMs <= LEADERSHIP_DOUBT_MS) return;
    this.#onViolation(
      `deposed scheduler: ${what} of term ${term}, ${Math.round(lateMs)} ms after term ${this.#term} began`,
    );
  }
}

/**
 * How long ago this process certainly led. Nothing leaves a manager whose proof is older than
 * `PROOF_MS`: a process that was stopped, or starved, beyond its session finds its inbox full when it
 * goes on, and must learn that another leads before it answers anybody.
 *
 * A proof is a commit (the store fences those) or a look at the store that finds this term leading; it
 * counts from when it was asked for. It is no lock: another may lead `PROOF_MS` later, so a new manager
 * takes leases of an earlier one for granted so much longer (`LEADERSHIP_DOUBT_MS` in core/node-life.ts).
 */
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { Clock, MetadataStore } from '../../shared/ports.ts';
import { LEADERSHIP_DOUBT_MS } from '../core/nodes/node-life.ts';

/** One look at the store in so much time, when nothing is committed meanwhile. */
const PROOF_MS = LEADERSHIP_DOUBT_MS;
/** Between looks at a store that does not answer. */
const RETRY_MS = 250;
/** A store that gives no proof for so long ends the leadership, whatever its driver believes. */
const GIVE_UP_MS = 60_000;

export interface GuardModules {
  readonly clock: Clock;
  readonly store: Pick<MetadataStore, 'leader'>;
  readonly term: number;
}

export class LeadershipGuard {
  readonly #modules: GuardModules;
  #provenAtMs = Number.NEGATIVE_INFINITY;

  constructor(modules: GuardModules) {
    this.#modules = modules;
  }

  /** A commit that was sent at `sentAtMs` went through. */
  note(sentAtMs: number): void {
    this.#provenAtMs = Math.max(this.#provenAtMs, sentAtMs);
  }

  /** Whether effects may leave in this very moment. */
  get isFresh(): boolean {
    return this.#modules.clock.now() - this.#provenAtMs <= PROOF_MS;
  }

  /**
   * Resolves when the proof is fresh, at once if it is. Rejects with `conflict` when another leads or
   * nobody, `unavailable` when the store gives no proof for a minute or `isOver` says that nobody
   * needs it any more.
   */
  async confirm(isOver: () => boolean = () => false): Promise<void> {
    const { clock, store, term } = this.#modules;
    const beganAtMs = clock.now();
    let problem = 'its answers come too late';
    while (!this.isFresh) {
      const askedAtMs = clock.now();
      if (isOver()) throw new StorageError('unavailable', `Term ${term} was given up`);
      if (askedAtMs - beganAtMs > GIVE_UP_MS) {
        throw new StorageError(
          'unavailable',
          `The metadata store did not confirm term ${term} within ${GIVE_UP_MS / 1000} s: ${problem}`,
        );
      }
      try {
        const leader = await store.leader();
        if (leader?.term !== term) throw deposed(term, leader?.term ?? null);
        this.note(askedAtMs);
      } catch (error) {
        if (error instanceof StorageError && error.code === 'conflict') throw error;
        problem = describeError(error);
        await new Promise<void>((resolve) => {
          clock.after(RETRY_MS, resolve);
        });
      }
    }
  }
}

function deposed(term: number, leading: number | null): StorageError {
  return new StorageError(
    'conflict',
    `Term ${term} is over, ${leading === null ? 'nobody' : `term ${leading}`} leads now`,
    { term, leading },
  );
}

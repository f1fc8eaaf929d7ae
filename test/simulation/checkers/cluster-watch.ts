/**
 * The checkers that look on while a cluster runs, put together: what is durable, who holds a lease, what
 * replica servers answer, what nodes pull, and where the manager lets copies go.
 */
import type { Clock, StoreChange } from '../../../shared/ports.ts';
import { type BudgetOptions, BudgetWatch } from './budget-watch.ts';
import { DurableFacts } from './durable-facts.ts';
import { LeaseBook } from './lease-book.ts';
import { ReplicaWatch } from './replica-watch.ts';
import { type HeldSpace, SpaceWatch } from './space-watch.ts';

export interface ClusterWatchModules {
  readonly clock: Clock;
  readonly budget: BudgetOptions;
  /** What a disk really holds; null when its store is not open. */
  readonly heldBy: (disk: number) => HeldSpace | null;
  readonly onViolation: (what: string) => void;
}

export class ClusterWatch {
  readonly facts = new DurableFacts();
  readonly leases: LeaseBook;
  readonly replicas: ReplicaWatch;
  readonly #clock: Clock;

  constructor(modules: ClusterWatchModules) {
    const { clock, budget, heldBy, onViolation } = modules;
    this.#clock = clock;
    const { facts } = this;
    this.leases = new LeaseBook(clock, facts);
    const pulls = new BudgetWatch(budget, clock, onViolation);
    this.replicas = new ReplicaWatch({ clock, facts, leases: this.leases, pulls, onViolation });
    const space = new SpaceWatch({ facts, heldBy, onViolation });
    facts.onPgChanged = (before, pg) => space.onPg(before, pg);
  }

  onCommitted(changes: readonly StoreChange[]): void {
    this.facts.onCommit(changes, this.#clock.now());
  }
}

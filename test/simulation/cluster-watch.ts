/**
 * The checkers that look on while a cluster runs, put together: what is durable, who holds a lease, and
 * what replica servers answer.
 */
import type { Clock, StoreChange } from '../../shared/ports.ts';
import { DurableFacts } from './durable-facts.ts';
import { LeaseBook } from './lease-book.ts';
import { ReplicaWatch } from './replica-watch.ts';

export class ClusterWatch {
  readonly facts = new DurableFacts();
  readonly leases: LeaseBook;
  readonly replicas: ReplicaWatch;
  readonly #clock: Clock;

  constructor(clock: Clock, onViolation: (what: string) => void) {
    this.#clock = clock;
    const { facts } = this;
    this.leases = new LeaseBook(clock, facts);
    this.replicas = new ReplicaWatch({ clock, facts, leases: this.leases, onViolation });
  }

  onCommitted(changes: readonly StoreChange[]): void {
    this.facts.onCommit(changes, this.#clock.now());
  }
}

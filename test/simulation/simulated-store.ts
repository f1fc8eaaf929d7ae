/**
 * The simulated metadata store: survives every crash of its scheduler, commits take time, may stall,
 * and refuse a leader whose term is over. Shared by all schedulers of a run.
 */
import { StorageError } from '../../shared/base/errors.ts';
import type { Prng } from '../../shared/base/prng.ts';
import type {
  Clock,
  MetadataStore,
  StoreChange,
  StoreEntry,
  StoreSnapshot,
} from '../../shared/ports.ts';

export class SimulatedStore {
  readonly #clock: Clock;
  readonly #random: Prng;
  readonly #rows = new Map<string, string>();
  /** Called when changes are durable. */
  onCommitted: (changes: readonly StoreChange[]) => void = () => undefined;
  #revision = 0;
  #term = 0;
  #stalledUntilMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, random: Prng) {
    this.#clock = clock;
    this.#random = random;
  }

  get revision(): number {
    return this.#revision;
  }

  stall(ms: number): void {
    this.#stalledUntilMs = this.#clock.now() + ms;
  }

  /** The leader's session at the store is lost: its next commit is refused, another may lead. */
  depose(): void {
    this.#term += 1;
  }

  /** Another store in its place, as a recovery writes it: terms begin above `term`. */
  replace(entries: readonly StoreEntry[], term: number): void {
    const changes: StoreChange[] = [...this.#rows.keys()].map((key) => ({ key, value: null }));
    this.#rows.clear();
    for (const { key, value } of entries) this.#rows.set(key, value);
    this.#revision = 1;
    this.#term = Math.max(term, this.#term);
    this.onCommitted([...changes, ...entries]);
  }

  /**
   * A scheduler process's own view of the store: its leadership ends when another campaigns.
   * `whenRunning`: a stopped process hears the answers when it goes on.
   */
  open(whenRunning: (action: () => void) => void = (action) => action()): MetadataStore {
    let term = 0;
    const heard = (): Promise<void> => new Promise((resolve) => whenRunning(resolve));
    const assertLeading = (): void => {
      if (term !== this.#term) {
        throw new StorageError('conflict', `Term ${term} is over, ${this.#term} leads`);
      }
    };
    return {
      campaign: async () => {
        await this.#pass();
        this.#term += 1;
        term = this.#term;
        return { term };
      },
      load: async (): Promise<StoreSnapshot> => {
        await this.#pass();
        assertLeading();
        const entries = [...this.#rows].map(([key, value]) => ({ key, value }));
        return { revision: this.#revision, entries };
      },
      commit: async (changes: readonly StoreChange[], expectedRevision: number) => {
        await this.#pass();
        assertLeading();
        if (expectedRevision !== this.#revision) {
          throw new StorageError(
            'conflict',
            `Store is at ${this.#revision}, not ${expectedRevision}`,
          );
        }
        for (const { key, value } of changes) {
          if (value === null) this.#rows.delete(key);
          else this.#rows.set(key, value);
        }
        this.#revision += 1;
        this.onCommitted(changes);
        const revision = this.#revision;
        await heard();
        return revision;
      },
      resign: async () => {
        if (term === this.#term) this.#term += 1;
      },
    };
  }

  /** The commit's own time: a fraction of a millisecond to a few, or until a stall ends. */
  #pass(): Promise<void> {
    const waitMs =
      Math.max(0, this.#stalledUntilMs - this.#clock.now()) + 0.2 + this.#random.fraction() * 2;
    return new Promise((resolve) => {
      this.#clock.after(waitMs, resolve);
    });
  }
}

/**
 * The simulated metadata store: survives every crash of its scheduler, commits take time, may stall,
 * and refuse a leader whose term is over. Shared by all schedulers of a run.
 */
import { StorageError } from '../../../shared/base/errors.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import type {
  Clock,
  LeaderRecord,
  Leadership,
  MetadataStore,
  StoreChange,
  StoreEntry,
  StoreSnapshot,
} from '../../../shared/ports.ts';

/** A leader whose session ended hears of it this much later: watches are not instant. */
const NOTICE_MS = 500;

export class SimulatedStore {
  readonly #clock: Clock;
  readonly #random: Prng;
  readonly #rows = new Map<string, string>();
  /** Called when changes are durable. */
  onCommitted: (changes: readonly StoreChange[]) => void = () => undefined;
  #revision = 0;
  #term = 0;
  /** Of the current term; null when it was deposed or resigned. */
  #leader: LeaderRecord | null = null;
  #endLeadership: (reason: string) => void = () => undefined;
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
    this.#leader = null;
    this.#endLeadership('Its session at the store is over');
  }

  /** Another store in its place, as a recovery writes it: terms begin above `term`. */
  replace(entries: readonly StoreEntry[], term: number): void {
    const changes: StoreChange[] = [...this.#rows.keys()].map((key) => ({ key, value: null }));
    this.#rows.clear();
    for (const { key, value } of entries) this.#rows.set(key, value);
    this.#revision = 1;
    this.#term = Math.max(term, this.#term);
    this.#leader = null;
    this.onCommitted([...changes, ...entries]);
  }

  /**
   * A scheduler process's own view of the store: its leadership ends when another campaigns, as if its
   * session had run out just then.
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
    const resign = (): void => {
      if (term !== this.#term) return;
      this.#term += 1;
      this.#leader = null;
      this.#endLeadership('This process resigned');
    };
    return {
      campaign: async ({ address, aboveTerm = 0 }): Promise<Leadership> => {
        await this.#pass();
        this.#endLeadership('Another process leads');
        this.#term = Math.max(this.#term, aboveTerm) + 1;
        term = this.#term;
        this.#leader = { term, address };
        const lost = new Promise<string>((resolve) => {
          this.#endLeadership = (reason) => {
            this.#clock.after(NOTICE_MS, () => whenRunning(() => resolve(reason)));
          };
        });
        return { term, lost };
      },
      leader: async (): Promise<LeaderRecord | null> => {
        await this.#pass();
        const leader = this.#leader;
        await heard();
        return leader;
      },
      load: async (): Promise<StoreSnapshot> => {
        await this.#pass();
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
      resign: async () => resign(),
      close: async () => resign(),
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

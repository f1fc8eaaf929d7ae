/**
 * A scheduler's process before it leads: knows who does, and has a copy of the store's facts for the
 * time in which nobody does. It is the API's manager port from the start of the process; once the process
 * leads, everything goes to the leading manager.
 *
 * The copy is made on request and kept: a cluster whose leader and store are both away can still be
 * looked at. What is only observed (sessions, rates, Mesos) is not in it.
 */
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { Clock, LeaderRecord, Log, MetadataStore } from '../../shared/ports.ts';
import type { ManagerPort } from '../api/manager-port.ts';
import type { StandbyPort } from '../api/standby-port.ts';
import { createState } from '../core/bootstrap.ts';
import type { CommandResult, ManagerOptions } from '../core/contract.ts';
import { createViews, type ManagerViews } from '../manager-view.ts';

export interface StandbyModules {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Pick<MetadataStore, 'leader' | 'load'>;
  /** Base URL by which others reach this process. */
  readAddress(): string;
  /** The views need some of them (sizes, limits); whoever leads has its own. */
  readOptions(): ManagerOptions;
}

/** A leader is looked up at most so often, however many ask. */
const LEADER_MS = 500;
/** A copy this young serves all. A store has other things to do than to be read whole. */
const COPY_MS = 5_000;
/** A store that has not answered by then is away. */
const ANSWER_MS = 2_000;
/** Reading the largest cluster whole. */
const LOAD_MS = 20_000;

interface Copy {
  readonly views: ManagerViews;
  readonly revision: number;
  readonly atMs: number;
}

interface Look {
  readonly atMs: number;
  readonly answer: Promise<LeaderRecord | null>;
}

export class Standby implements ManagerPort, StandbyPort {
  readonly #modules: StandbyModules;
  #leading: ManagerPort | null = null;
  #look: Look | null = null;
  /** As last seen: for texts. */
  #leader: LeaderRecord | null = null;
  #copy: Copy | null = null;
  #copying: Promise<void> | null = null;

  constructor(modules: StandbyModules) {
    this.#modules = modules;
  }

  get address(): string {
    return this.#modules.readAddress();
  }

  /** From now on this process leads; there is no way back but its end. */
  lead(manager: ManagerPort): void {
    this.#leading = manager;
    this.#copy = null;
  }

  // ── Who leads ──────────────────────────────────────────────────────────────────────────────

  findLeader(): Promise<LeaderRecord | null> {
    const { clock, store } = this.#modules;
    const nowMs = clock.now();
    if (this.#look !== null && nowMs - this.#look.atMs < LEADER_MS) return this.#look.answer;
    const answer = this.#within(ANSWER_MS, 'who leads', store.leader());
    this.#look = { atMs: nowMs, answer };
    answer.then(
      (leader) => {
        this.#leader = leader;
      },
      // Whoever asked is told.
      () => undefined,
    );
    return answer;
  }

  leadership(): ReturnType<ManagerPort['leadership']> {
    if (this.#leading !== null) return this.#leading.leadership();
    const who = this.#leader === null ? 'nobody was seen leading' : `${this.#leader.address} leads`;
    return { isLeading: false, isStandby: true, reason: `this scheduler stands by; ${who}` };
  }

  // ── The copy of the facts ──────────────────────────────────────────────────────────────────

  async followStore(): Promise<number> {
    const { clock } = this.#modules;
    if (this.#copy === null || clock.now() - this.#copy.atMs > COPY_MS) await this.#refresh();
    if (this.#copy === null) {
      throw new StorageError(
        'unavailable',
        'Nobody leads the cluster at the moment, and the metadata store holds none yet',
      );
    }
    return clock.now() - this.#copy.atMs;
  }

  /** One at a time. With an old copy at hand, a store that is slow or away is not waited for. */
  async #refresh(): Promise<void> {
    this.#copying ??= this.#load().finally(() => {
      this.#copying = null;
    });
    const { log } = this.#modules;
    const copying =
      this.#copy === null ? this.#copying : this.#within(ANSWER_MS, 'all facts', this.#copying);
    try {
      await copying;
    } catch (error) {
      if (this.#copy === null) throw error;
      log('debug', 'The copy of the facts stays as it is', { reason: describeError(error) });
    }
  }

  async #load(): Promise<void> {
    const { clock, store } = this.#modules;
    const atMs = clock.now();
    const snapshot = await this.#within(LOAD_MS, 'all facts', store.load());
    if (snapshot.entries.length === 0) return;
    if (this.#copy !== null && this.#copy.revision === snapshot.revision) {
      this.#copy = { ...this.#copy, atMs };
      return;
    }
    const now = { ms: clock.now(), wallMs: clock.wall() };
    const options = this.#modules.readOptions();
    const setup = { options, entries: snapshot.entries, term: 0, newClusterId: '' };
    const state = createState(setup, now);
    const views = createViews(state, () => ({ ms: clock.now(), wallMs: clock.wall() }));
    this.#copy = { views, revision: snapshot.revision, atMs };
  }

  #within<T>(limitMs: number, what: string, answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const deadline = this.#modules.clock.after(limitMs, () => {
        const text = `The metadata store did not say ${what} within ${limitMs} ms`;
        reject(new StorageError('unavailable', text));
      });
      answer.then(resolve, reject).finally(() => deadline.cancel());
    });
  }

  // ── The manager port ───────────────────────────────────────────────────────────────────────

  get #views(): ManagerViews {
    const views = this.#leading ?? this.#copy?.views;
    if (views !== undefined) return views;
    throw new StorageError('unavailable', 'This scheduler stands by and has no copy of the facts');
  }

  cluster = () => this.#views.cluster();
  nodes = () => this.#views.nodes();
  node: ManagerViews['node'] = (id) => this.#views.node(id);
  agents = () => this.#views.agents();
  agent: ManagerViews['agent'] = (given) => this.#views.agent(given);
  disks = () => this.#views.disks();
  pools = () => this.#views.pools();
  plan: ManagerViews['plan'] = (document) => this.#views.plan(document);
  pgs: ManagerViews['pgs'] = (filter) => this.#views.pgs(filter);
  volumes = () => this.#views.volumes();
  attachments = () => this.#views.attachments();
  upgrade = () => this.#views.upgrade();
  uninstall = () => this.#views.uninstall();
  jobs = () => this.#views.jobs();
  events: ManagerViews['events'] = (sinceId, limit) => this.#views.events(sinceId, limit);
  explain: ManagerViews['explain'] = (subject) => this.#views.explain(subject);

  /** Nothing changes while it stands by; streams are opened by a process that leads. */
  subscribe: ManagerPort['subscribe'] = (listener) =>
    this.#leading === null ? () => undefined : this.#leading.subscribe(listener);

  execute: ManagerPort['execute'] = (command) => {
    if (this.#leading !== null) return this.#leading.execute(command);
    const error = new StorageError('unavailable', 'This scheduler stands by');
    const result: CommandResult = { kind: 'failed', error };
    return Promise.resolve(result);
  };
}

/**
 * The shell around the manager: one inbox, one event at a time. Each step's facts are committed as
 * one transaction before any of its effects leaves; steps that are waiting share one commit. A failed
 * commit ends the leadership: nothing left, nothing is half done. What is committed, and what needs no
 * commit, leaves only while it is certain that this process leads (leadership/guard.ts).
 */
import { assert } from '../shared/base/assert.ts';
import { describeError, StorageError } from '../shared/base/errors.ts';
import type { NodeId } from '../shared/base/ids.ts';
import type { SchedulerCall } from '../shared/mesos/messages.ts';
import type { Announcement } from '../shared/model/announcement.ts';
import type { CapacityRequest } from '../shared/model/capacity-hook.ts';
import type { ManagerMessage } from '../shared/model/control.ts';
import type { Clock, Log, MetadataStore, StoreChange, Timer } from '../shared/ports.ts';
import type { CapacityHookPort, Command, CommandResult, Effect, Event } from './core/contract.ts';
import type { MapChanges } from './core/facts.ts';
import { buildMap, buildMapDelta, isFactKept } from './core/map.ts';
import type { Now, State } from './core/state.ts';
import { step } from './core/step.ts';
import { LeadershipGuard } from './leadership/guard.ts';

/** Where Mesos calls go (an HTTP connection, or the simulated Mesos). */
export interface MesosPort {
  call(call: SchedulerCall): void;
}

/** Where messages to executors go. */
export interface ControlPort {
  send(session: string, message: ManagerMessage): void;
  closeSession(session: string, reason: string): void;
}

/** Tells executors where this manager is, at the addresses where they answer grants. */
export interface AnnouncePort {
  /** Never throws: what does not arrive is said again. */
  announce(to: string, announcement: Announcement): void;
}

export interface SchedulerModules {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: MetadataStore;
  readonly mesos: MesosPort;
  readonly control: ControlPort;
  /** Missing: executors hear of this manager through Mesos only. */
  readonly announcer?: AnnouncePort;
  /** Missing: no hook is configured, and none is asked. */
  readonly capacityHook?: CapacityHookPort;
  /**
   * Leadership is over; the process should end (Marathon starts another). `isPermanent`: another one
   * would end in the same way, until an operator has done what the reason says.
   */
  onAbdicated(reason: string, isPermanent: boolean): void;
}

/** Planners run this often; events that matter run them at once. */
const TICK_MS = 250;
/** Steps that share one commit at most: bounds how long an answer waits. */
const BATCH_MAX = 256;
/** Events that wait at most; Mesos and executors both send again what is lost. */
const INBOX_MAX = 100_000;

interface PendingCommand {
  resolve(result: CommandResult): void;
}

export class Scheduler {
  readonly #state: State;
  readonly #modules: SchedulerModules;
  #inbox: Event[] = [];
  #isRunning = false;
  #isClosed = false;
  #revision: number;
  #tickTimer: Timer | null = null;
  #nextRequest = 1;
  readonly #commands = new Map<string, PendingCommand>();
  /** The whole map as the last welcome sent it: nodes often come in crowds, and it is large. */
  #fullMap: Extract<ManagerMessage, { kind: 'map' }> | null = null;
  /** Sessions that have been welcomed: they get every delta. */
  readonly #sessions = new Map<string, NodeId>();
  readonly #listeners = new Set<() => void>();
  readonly #guard: LeadershipGuard;

  constructor(state: State, revision: number, modules: SchedulerModules) {
    this.#state = state;
    this.#revision = revision;
    this.#modules = modules;
    const { clock, store } = modules;
    this.#guard = new LeadershipGuard({ clock, store, term: state.term });
  }

  /** What the manager knows: for views only, never changed outside of a step. */
  get state(): State {
    return this.#state;
  }

  get isLeading(): boolean {
    return !this.#isClosed;
  }

  now(): Now {
    return { ms: this.#modules.clock.now(), wallMs: this.#modules.clock.wall() };
  }

  start(): void {
    this.#tick();
  }

  /** Puts an event into the inbox; it is stepped soon, in order. */
  post(event: Event): void {
    if (this.#isClosed) return;
    if (this.#inbox.length >= INBOX_MAX && event.kind === 'tick') return;
    assert(this.#inbox.length < 2 * INBOX_MAX, 'the inbox is bounded', {
      size: this.#inbox.length,
    });
    this.#inbox.push(event);
    if (!this.#isRunning) {
      this.#isRunning = true;
      void this.#run();
    }
  }

  /** Answers when the command's facts are durable. */
  execute(command: Command): Promise<CommandResult> {
    if (this.#isClosed) {
      const error = new StorageError('unavailable', 'This scheduler does not lead any more');
      return Promise.resolve({ kind: 'failed', error });
    }
    const requestId = `r${this.#nextRequest}`;
    this.#nextRequest += 1;
    return new Promise((resolve) => {
      this.#commands.set(requestId, { resolve });
      this.post({ kind: 'command', requestId, command });
    });
  }

  /**
   * Resolves when it is certain that this process leads; a scheduler that cannot show it stops leading,
   * and this rejects. For what leaves on other ways than as an effect (a subscription at Mesos).
   */
  async confirmLeadership(): Promise<void> {
    try {
      await this.#guard.confirm(() => this.#isClosed);
    } catch (error) {
      this.#abdicate(describeError(error), false);
      throw error;
    }
  }

  /** Called after each commit. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Nothing leaves any more, at once; commands under way are answered `unavailable`. */
  close(): void {
    this.#isClosed = true;
    this.#tickTimer?.cancel();
    this.#failCommands('The scheduler is stopping');
  }

  #tick(): void {
    if (this.#isClosed) return;
    this.#tickTimer = this.#modules.clock.after(TICK_MS, () => this.#tick());
    this.post({ kind: 'tick' });
  }

  async #run(): Promise<void> {
    try {
      while (this.#inbox.length > 0 && !this.#isClosed) await this.#runBatch();
    } catch (error) {
      // A broken invariant or a lost store: whoever leads next begins from the facts.
      this.#abdicate(describeError(error), false);
    } finally {
      this.#isRunning = false;
    }
  }

  async #runBatch(): Promise<void> {
    const batch = this.#inbox.splice(0, BATCH_MAX);
    const effects: Effect[] = [];
    for (const event of batch) effects.push(...step(this.#state, event, this.now()));
    const fromVersion = this.#state.facts.cluster.mapVersion;
    const changes = this.#state.facts.takeChanges();
    if (changes.store.length > 0) {
      const sentAtMs = this.#modules.clock.now();
      this.#revision = await this.#modules.store.commit(changes.store, this.#revision);
      this.#guard.note(sentAtMs);
    }
    // Usually it is: a proof is as old as the last commit. Not after this process was stopped.
    if (!this.#guard.isFresh) await this.#guard.confirm(() => this.#isClosed);
    if (this.#isClosed) return;
    if (changes.map !== null) this.#fullMap = null;
    if (changes.map !== null) this.#sendDelta(changes.map, changes.store, fromVersion);
    for (const effect of effects) this.#perform(effect);
    for (const listener of this.#listeners) listener();
  }

  #sendDelta(changes: MapChanges, store: readonly StoreChange[], fromVersion: number): void {
    if (this.#sessions.size === 0) return;
    const delta = buildMapDelta(this.#state.facts, this.#state.term, changes, fromVersion);
    const facts = store.filter((change) => isFactKept(change.key));
    // One message for all: it is put into bytes once (control-codec.ts).
    const message: ManagerMessage = { kind: 'delta', delta, facts };
    for (const session of this.#sessions.keys()) this.#modules.control.send(session, message);
  }

  #perform(effect: Effect): void {
    const { control, mesos } = this.#modules;
    switch (effect.kind) {
      case 'mesos-call':
        mesos.call(effect.call);
        break;
      case 'welcome':
        this.#welcome(effect.session, effect.node);
        break;
      case 'refuse':
        control.send(effect.session, {
          kind: 'refusal',
          term: this.#state.term,
          reason: effect.reason,
        });
        this.#sessions.delete(effect.session);
        control.closeSession(effect.session, effect.reason);
        break;
      case 'lease':
        control.send(effect.session, {
          kind: 'lease',
          term: this.#state.term,
          sequence: effect.sequence,
          durationMs: effect.durationMs,
        });
        break;
      case 'scrubs': {
        const { session, orders } = effect;
        control.send(session, { kind: 'scrubs', term: this.#state.term, orders });
        break;
      }
      case 'announce':
        this.#modules.announcer?.announce(effect.to, effect.announcement);
        break;
      case 'close-session':
        this.#sessions.delete(effect.session);
        control.closeSession(effect.session, effect.reason);
        break;
      case 'capacity-hook':
        this.#askForCapacity(effect.request);
        break;
      case 'reply': {
        const pending = this.#commands.get(effect.requestId);
        this.#commands.delete(effect.requestId);
        pending?.resolve(effect.result);
        break;
      }
      case 'abdicate':
        this.#abdicate(effect.reason, effect.isPermanent === true);
        break;
    }
  }

  #askForCapacity(request: CapacityRequest): void {
    const { capacityHook } = this.#modules;
    assert(capacityHook !== undefined, 'who asks the capacity hook has one', { key: request.key });
    capacityHook.ask(request, (outcome) =>
      this.post({ kind: 'capacity-answer', key: request.key, outcome }),
    );
  }

  #welcome(session: string, node: NodeId): void {
    const { control } = this.#modules;
    const { options, term, facts } = this.#state;
    this.#sessions.set(session, node);
    control.send(session, {
      kind: 'welcome',
      term,
      node,
      leaseMs: options.leaseMs,
      resyncBytesPerSecond: options.resyncBytesPerSecond,
      concurrentJoins: options.concurrentJoinsPerDisk,
    });
    this.#fullMap ??= {
      kind: 'map',
      map: buildMap(facts, term),
      facts: facts.entries((key) => !isFactKept(key)),
    };
    control.send(session, this.#fullMap);
  }

  /** The control adapter's word that a session is over. */
  onSessionClosed(session: string, reason: string): void {
    this.#sessions.delete(session);
    this.post({ kind: 'node-closed', session, reason });
  }

  #abdicate(reason: string, isPermanent: boolean): void {
    if (this.#isClosed) return;
    this.#modules.log('error', 'Leadership is over', { reason });
    this.close();
    this.#modules.onAbdicated(reason, isPermanent);
  }

  #failCommands(reason: string): void {
    const error = new StorageError('unavailable', reason);
    for (const pending of this.#commands.values()) pending.resolve({ kind: 'failed', error });
    this.#commands.clear();
  }
}

/**
 * The scheduler's line to Mesos: keeps one subscription alive at the leading master, hands over its
 * events in order, and sends calls in order on the same subscription.
 *
 *   idle ─▶ connecting ─▶ subscribed ─▶ (stream or call broke) ─▶ backing off ─▶ connecting …
 *                     └─▶ stopped: Mesos said ERROR, or refused the subscription for good
 *
 * After ERROR it never subscribes again by itself: a second scheduler would be thrown out, and the
 * two would take turns for ever. What a refusal means is the core's business (`framework.ts`), so a final
 * refusal over HTTP reaches it as an ERROR event too. Does not: hold offers, acknowledge, reconcile.
 */
import { assert } from '../../shared/base/assert.ts';
import { describeError, StorageError } from '../../shared/base/errors.ts';
import { type ContentType, decode, encode } from '../../shared/mesos/codec.ts';
import type { FrameworkInfo } from '../../shared/mesos/messages.ts';
import type { SchedulerCall, SchedulerEvent } from '../../shared/mesos/scheduler-messages.ts';
import {
  type HeaderFields,
  MesosBackoff,
  MesosConnection,
  type MesosTarget,
  type TlsSettings,
} from '../../shared/node/mesos-connection.ts';
import type { Clock, Log, Random, Timer } from '../../shared/ports.ts';
import {
  type Authorization,
  canRefresh,
  createHeaderProvider,
  type HeaderProvider,
} from './access.ts';
import { EventQueue } from './event-queue.ts';
import { masterTarget, redirectTarget } from './masters.ts';

export interface MesosSchedulerOptions {
  /** `host:port`, `http://host:port` or `https://…`; or a function that finds them (ZooKeeper). */
  readonly masters: readonly string[] | (() => Promise<readonly string[]>);
  readonly contentType: ContentType;
  readonly authorization: Authorization;
  /** For masters at `https:` addresses. */
  readonly tls?: TlsSettings | null;
  /**
   * Asked before each attempt to subscribe, which throws out whoever is subscribed as the same framework: rejects
   * when another scheduler may be. Missing: nobody else ever is.
   */
  readonly mayConnect?: () => Promise<void>;
  /**
   * Events in order, one at a time: a returned promise holds the next one back. HEARTBEAT stays here.
   */
  readonly onEvent: (event: SchedulerEvent) => undefined | Promise<void>;
  /** The subscription ended; another attempt follows by itself unless ERROR came before. */
  readonly onDisconnected: (reason: string) => void;
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
  readonly timing?: Partial<MesosTiming>;
}

export interface MesosTiming {
  /** Docs and C++ library: attempts at most this far apart. */
  readonly backoffMsMax: number;
  readonly backoffMsBase: number;
  readonly connectTimeoutMs: number;
  /** From a call to its answer; also from the head of the stream to SUBSCRIBED. */
  readonly answerTimeoutMs: number;
  /** Heartbeats that may be missing before the stream counts as dead (MESOS 1.4: five, 75 s). */
  readonly heartbeatsMissed: number;
}

const TIMING: MesosTiming = {
  backoffMsMax: 15_000,
  backoffMsBase: 500,
  connectTimeoutMs: 5_000,
  answerTimeoutMs: 20_000,
  heartbeatsMissed: 5,
};

/** Non-leading masters redirect once; two more cover an election in between. */
const REDIRECTS_MAX = 3;
/** A subscription that lived this long proves that the master works: the next attempt may be quick. */
const STABLE_MS = 10_000;
/** When Mesos does not say how often it beats (it always does). */
const HEARTBEAT_MS_DEFAULT = 15_000;

export interface MesosScheduler {
  /** Begins to subscribe; goes on until `close` or ERROR. Once. */
  subscribe(
    frameworkInfo: FrameworkInfo,
    frameworkId: string | null,
    suppressedRoles: readonly string[],
  ): void;
  /** Returns false (and sends nothing) when there is no subscription: whatever it was, it is void. */
  call(call: SchedulerCall): boolean;
  /** Another master leads: a subscription elsewhere is given up, a wait for the next attempt is cut short. */
  follow(masters: readonly string[]): void;
  close(): void;
}

export function createMesosScheduler(options: MesosSchedulerOptions): MesosScheduler {
  return new Subscriber(options);
}

interface Wish {
  readonly frameworkInfo: FrameworkInfo;
  readonly suppressedRoles: readonly string[];
}

/** One attempt to subscribe and what became of it. A later attempt makes it void. */
interface Attempt {
  readonly target: MesosTarget;
  readonly connection: MesosConnection;
  streamId: string | null;
  isSubscribed: boolean;
  readonly startedAtMs: number;
}

class Subscriber implements MesosScheduler {
  readonly #options: MesosSchedulerOptions;
  readonly #timing: MesosTiming;
  readonly #backoff: MesosBackoff;
  readonly #events: EventQueue;
  readonly #authorization: HeaderProvider;
  /** Headers were fetched again after a 401, and no subscription has come about since. */
  #isRefreshed = false;
  #wish: Wish | null = null;
  #frameworkId: string | null = null;
  #attempt: Attempt | null = null;
  #retry: Timer | null = null;
  /** Masters take turns, beginning with the first. */
  #turn = 0;
  #isStopped = false;

  constructor(options: MesosSchedulerOptions) {
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
    this.#backoff = new MesosBackoff(options.random, {
      baseMs: this.#timing.backoffMsBase,
      maxMs: this.#timing.backoffMsMax,
    });
    this.#authorization = createHeaderProvider(options.authorization, options.clock);
    this.#events = new EventQueue(options.onEvent, (reason) => this.#drop(reason));
  }

  subscribe(
    frameworkInfo: FrameworkInfo,
    frameworkId: string | null,
    suppressedRoles: readonly string[],
  ): void {
    if (this.#wish !== null) {
      throw new StorageError('internal', 'Subscribed to Mesos twice with one client');
    }
    this.#wish = { frameworkInfo, suppressedRoles };
    this.#frameworkId = frameworkId;
    void this.#connect();
  }

  call(call: SchedulerCall): boolean {
    // A call of type UNKNOWN, or of none, aborts a real master.
    assert(call.type !== undefined && call.type !== 'UNKNOWN', 'a Mesos call has a type');
    const attempt = this.#attempt;
    if (attempt === null || !attempt.isSubscribed || this.#frameworkId === null) {
      this.#options.log('debug', 'Mesos call dropped, not subscribed', { type: call.type });
      return false;
    }
    const whole: SchedulerCall = { ...call, framework_id: { value: this.#frameworkId } };
    const bytes = encode('scheduler.Call', whole, this.#options.contentType);
    void this.#send(attempt, bytes, call.type ?? 'UNKNOWN');
    return true;
  }

  follow(masters: readonly string[]): void {
    if (this.#wish === null || this.#isStopped) return;
    const origins = masters.map((master) => masterTarget(master).origin);
    if (this.#attempt !== null) {
      if (!origins.includes(this.#attempt.target.origin)) {
        this.#drop(`another master leads now: ${origins[0] ?? 'none'}`);
      }
    } else if (this.#retry !== null) {
      this.#retry.cancel();
      this.#retry = null;
      void this.#connect();
    }
  }

  close(): void {
    this.#isStopped = true;
    this.#retry?.cancel();
    this.#events.clear();
    this.#attempt?.connection.close();
    this.#attempt = null;
  }

  async #send(attempt: Attempt, bytes: Buffer, type: string): Promise<void> {
    const headers: HeaderFields =
      attempt.streamId === null ? {} : { 'mesos-stream-id': attempt.streamId };
    const answer = await attempt.connection.call(bytes, headers);
    if (answer.kind === 'accepted' || attempt !== this.#attempt) return;
    if (answer.kind === 'failed') {
      // It may or may not have arrived: the subscription that follows reconciles.
      this.#drop(`call ${type} got no answer: ${answer.reason}`);
      return;
    }
    const { status, message } = answer;
    this.#options.log('warn', 'Mesos refused a call', { type, status, message });
    if (status === 401) this.#authorization.forget();
    // 400 and 403: this subscription is gone or another took its place; a 503 comes from a master that no
    // longer leads. Sending the same again could only be wrong.
    this.#drop(`call ${type} was refused with ${status}: ${message}`);
  }

  async #connect(): Promise<void> {
    try {
      const target = await this.#pickMaster();
      if (this.#isStopped) return;
      if (target === null) this.#retryLater('no master is known');
      else await this.#tryMaster(target, [`${target.origin}${target.path}`]);
    } catch (error) {
      // Finding the masters or our headers failed, or a master has an address that is none.
      const reason = describeError(error);
      if (!this.#isStopped) this.#options.onDisconnected(reason);
      this.#retryLater(reason);
    }
  }

  async #pickMaster(): Promise<MesosTarget | null> {
    const { masters } = this.#options;
    const list = typeof masters === 'function' ? await this.#findMasters(masters) : masters;
    const master = list[this.#turn % Math.max(1, list.length)];
    this.#turn += 1;
    return master === undefined ? null : masterTarget(master);
  }

  /** A detector may hang with its ensemble: then the next attempt asks again. */
  async #findMasters(find: () => Promise<readonly string[]>): Promise<readonly string[]> {
    const { clock } = this.#options;
    return await new Promise((resolve, reject) => {
      const limitMs = this.#timing.answerTimeoutMs;
      const deadline = clock.after(limitMs, () => {
        reject(new StorageError('timeout', `Looking for Mesos masters took over ${limitMs} ms`));
      });
      find()
        .then(resolve, reject)
        .finally(() => deadline.cancel());
    });
  }

  async #tryMaster(target: MesosTarget, visited: readonly string[]): Promise<void> {
    await this.#options.mayConnect?.();
    if (this.#isStopped) return;
    const headers = await this.#authorization.headers();
    if (this.#isStopped) return;
    const attempt = this.#begin(target, headers);
    const answer = await attempt.connection.subscribe(this.#subscribeCall(), {
      onRecord: (record) => this.#onRecord(attempt, record),
      onEnd: (reason) => {
        if (attempt === this.#attempt) this.#drop(reason);
      },
    });
    if (attempt !== this.#attempt) return;
    switch (answer.kind) {
      case 'open':
        attempt.streamId = answer.streamId;
        this.#options.log('info', 'Mesos stream open', { master: target.origin });
        this.#expectSubscribed(attempt);
        return;
      case 'redirect':
        await this.#follow(attempt, answer.location, visited);
        return;
      case 'failed':
        this.#abandon(attempt, `master ${target.origin} did not answer: ${answer.reason}`);
        return;
      case 'refused':
        this.#onRefused(attempt, answer.status, answer.message);
    }
  }

  /** Heartbeats alone prove nothing: a SUBSCRIBED that got lost would be waited for for ever. */
  #expectSubscribed(attempt: Attempt): void {
    const limitMs = this.#timing.answerTimeoutMs;
    this.#options.clock.after(limitMs, () => {
      if (attempt !== this.#attempt || attempt.isSubscribed) return;
      this.#drop(`no SUBSCRIBED came within ${limitMs} ms`);
    });
  }

  #begin(target: MesosTarget, headers: HeaderFields): Attempt {
    const { contentType, clock, tls = null } = this.#options;
    const connection = new MesosConnection({
      target,
      contentType,
      headers,
      tls,
      clock,
      connectTimeoutMs: this.#timing.connectTimeoutMs,
      answerTimeoutMs: this.#timing.answerTimeoutMs,
    });
    const attempt: Attempt = {
      target,
      connection,
      streamId: null,
      isSubscribed: false,
      startedAtMs: clock.now(),
    };
    this.#attempt?.connection.close();
    this.#attempt = attempt;
    return attempt;
  }

  #subscribeCall(): Buffer {
    const wish = this.#wish;
    if (wish === null) throw new StorageError('internal', 'Connecting before subscribe');
    const id = this.#frameworkId === null ? undefined : { value: this.#frameworkId };
    const call: SchedulerCall = {
      // Both places, and equal, or the master answers 400.
      framework_id: id,
      type: 'SUBSCRIBE',
      subscribe: {
        framework_info: { ...wish.frameworkInfo, id },
        suppressed_roles: wish.suppressedRoles,
      },
    };
    return encode('scheduler.Call', call, this.#options.contentType);
  }

  async #follow(attempt: Attempt, location: string, visited: readonly string[]): Promise<void> {
    const next = redirectTarget(attempt.target, location);
    if (next === null) {
      this.#abandon(attempt, `${attempt.target.origin} redirects to "${location}", no master`);
      return;
    }
    const url = `${next.origin}${next.path}`;
    if (visited.includes(url) || visited.length > REDIRECTS_MAX) {
      this.#abandon(attempt, `masters redirect in circles: ${[...visited, url].join(' → ')}`);
      return;
    }
    await this.#tryMaster(next, [...visited, url]);
  }

  #onRefused(attempt: Attempt, status: number, message: string): void {
    const text = `Master ${attempt.target.origin} refused the subscription with HTTP ${status}: ${message}`;
    // 404: the route is not there yet. 5xx: starting, recovering, or no leader. All pass by themselves.
    if (status === 404 || status === 408 || status === 429 || status >= 500) {
      this.#abandon(attempt, text);
      return;
    }
    // A token that ran out: another one is fetched, once.
    if (status === 401 && canRefresh(this.#options.authorization) && !this.#isRefreshed) {
      this.#isRefreshed = true;
      this.#authorization.forget();
      this.#abandon(attempt, text);
      return;
    }
    this.#events.push({ type: 'ERROR', error: { message: text } });
    this.#stop(text);
  }

  #onRecord(attempt: Attempt, record: Buffer): void {
    if (attempt !== this.#attempt) return;
    const event = decode('scheduler.Event', record, this.#options.contentType);
    switch (event.type) {
      case undefined:
      case 'UNKNOWN':
      case 'HEARTBEAT':
        return;
      case 'SUBSCRIBED':
        this.#onSubscribed(attempt, event);
        break;
      case 'ERROR':
        this.#events.push(event);
        this.#stop(`Mesos ended the subscription: ${event.error?.message ?? ''}`);
        return;
      default:
    }
    this.#events.push(event);
  }

  #onSubscribed(attempt: Attempt, event: SchedulerEvent): void {
    const seconds = event.subscribed?.heartbeat_interval_seconds;
    const heartbeatMs =
      seconds !== undefined && seconds > 0 ? seconds * 1000 : HEARTBEAT_MS_DEFAULT;
    attempt.connection.setSilenceLimit(heartbeatMs * this.#timing.heartbeatsMissed);
    attempt.isSubscribed = true;
    this.#isRefreshed = false;
    this.#frameworkId = event.subscribed?.framework_id.value ?? this.#frameworkId;
    this.#options.log('info', 'subscribed to Mesos', {
      master: attempt.target.origin,
      framework: this.#frameworkId,
    });
  }

  /** An attempt that led nowhere: the core hears why, and the next master is tried. */
  #abandon(attempt: Attempt, reason: string): void {
    if (attempt === this.#attempt) this.#drop(reason);
  }

  /** Ends the present attempt, whatever its state, and plans the next one. */
  #drop(reason: string): void {
    const attempt = this.#attempt;
    if (this.#isStopped || attempt === null) return;
    this.#attempt = null;
    attempt.connection.close();
    this.#events.clear();
    if (attempt.isSubscribed) {
      const livedMs = this.#options.clock.now() - attempt.startedAtMs;
      if (livedMs >= STABLE_MS) this.#backoff.reset();
    }
    this.#options.onDisconnected(reason);
    this.#retryLater(reason);
  }

  #retryLater(reason: string): void {
    if (this.#isStopped) return;
    const waitMs = this.#backoff.nextMs();
    this.#options.log('warn', 'no Mesos subscription, trying again', { reason, waitMs });
    this.#retry?.cancel();
    this.#retry = this.#options.clock.after(waitMs, () => {
      this.#retry = null;
      void this.#connect();
    });
  }

  /** For good. Events that were taken before are still delivered: the last one says why. */
  #stop(reason: string): void {
    this.#isStopped = true;
    this.#retry?.cancel();
    this.#attempt?.connection.close();
    this.#attempt = null;
    this.#options.log('error', 'Mesos subscription ended for good', { reason });
    this.#options.onDisconnected(reason);
  }
}

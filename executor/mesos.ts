/**
 * The executor's line to its Mesos agent: subscribes, hands over launches, kills and messages, sends task
 * updates until they are acknowledged, and comes back quickly when the agent restarts.
 *
 * An agent that restarts gives its executors two seconds; so while it is away we knock several times a
 * second, each time after a random wait. When it stays away longer than the recovery timeout we give up,
 * as Mesos asks. What has to be remembered over all this is in `mesos-session.ts`; this file moves bytes.
 */
import { type ContentType, decode, encode, PROTOBUF_TYPE } from '../shared/mesos/codec.ts';
import type { ExecutorCall, ExecutorEvent } from '../shared/mesos/executor-messages.ts';
import type { AgentInfo, StatusReason, TaskInfo, TaskState } from '../shared/mesos/messages.ts';
import { type HeaderFields, MesosConnection } from '../shared/node/mesos-connection.ts';
import type { Clock, Log, Random, Timer } from '../shared/ports.ts';
import type { MesosEnvironment } from './mesos-environment.ts';
import { ExecutorSession, type SessionOutput } from './mesos-session.ts';

export interface MesosExecutorOptions {
  readonly environment: MesosEnvironment;
  /** protobuf unless given. */
  readonly contentType?: ContentType;
  readonly onLaunch: (task: TaskInfo) => void;
  readonly onKill: (taskId: string, graceMs: number) => void;
  readonly onMessage: (data: Buffer) => void;
  /** End all tasks, report them, and exit within `environment.shutdownGraceMs`. */
  readonly onShutdown: () => void;
  /** The agent is gone, or wants us no more: end the process. */
  readonly onGiveUp: (reason: string) => void;
  /** After every subscription; `agent.hostname` is this host's name as operators know it. */
  readonly onSubscribed?: (agent: AgentInfo) => void;
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
}

export interface MesosExecutor {
  /**
   * Reports a task's state; kept and repeated until the agent has stored it. Do not report TASK_KILLING: in
   * a drain that gives the agent up, Mesos passes it on as the end of the task and stops us at once.
   */
  update(
    taskId: string,
    state: TaskState,
    details: { readonly message: string; readonly reason?: StatusReason },
  ): void;
  /** To the scheduler; may be lost. Dropped while there is no subscription. */
  sendMessage(data: Uint8Array): void;
  /** Updates that the agent has not stored yet: zero means that exiting loses nothing. */
  readonly pendingUpdates: number;
  close(): void;
}

/** Subscribes at once. */
export function createMesosExecutor(options: MesosExecutorOptions): MesosExecutor {
  const executor = new AgentLine(options);
  executor.start();
  return executor;
}

/** The agent is on this host: it answers or it is not there. */
const CONNECT_TIMEOUT_MS = 2_000;
const ANSWER_TIMEOUT_MS = 5_000;
/** An agent that answers 404 or 503 is about to be ready, and its two seconds begin soon. */
const KNOCK_MS_MAX = 250;
/** Fraction of the agent's patience within which we knock again while nobody listens. */
const KNOCKS_PER_WINDOW = 4;
/** Mesos: both sides beat every 30 minutes; five may be missing. TCP tells a dead agent much sooner. */
const HEARTBEAT_MS = 30 * 60_000;
const SILENCE_MS_MAX = 5 * HEARTBEAT_MS;
/** Without checkpointing nothing says how long to try at first: the agent's registration timeout. */
const REGISTER_MS = 60_000;

class AgentLine implements MesosExecutor {
  readonly #options: MesosExecutorOptions;
  readonly #contentType: ContentType;
  readonly #session: ExecutorSession;
  #connection: MesosConnection | null = null;
  #timer: Timer | null = null;
  #heartbeat: Timer | null = null;
  #awaySinceMs: number;
  #hasSubscribed = false;
  #isShuttingDown = false;
  #isClosed = false;

  constructor(options: MesosExecutorOptions) {
    this.#options = options;
    this.#contentType = options.contentType ?? PROTOBUF_TYPE;
    this.#session = new ExecutorSession(options.environment);
    this.#awaySinceMs = options.clock.now();
  }

  get pendingUpdates(): number {
    return this.#session.pendingUpdates;
  }

  start(): void {
    void this.#connect();
    this.#beat();
  }

  update(
    taskId: string,
    state: TaskState,
    details: { readonly message: string; readonly reason?: StatusReason },
  ): void {
    const { random, clock } = this.#options;
    const uuid = Buffer.from(random.uuid().replaceAll('-', ''), 'hex');
    const { message, reason } = details;
    this.#perform(
      this.#session.update({ taskId, state, message, reason, uuid, wallMs: clock.wall() }),
    );
  }

  sendMessage(data: Uint8Array): void {
    if (this.#session.isSubscribed) this.#send(this.#session.messageCall(data));
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#heartbeat?.cancel();
    this.#connection?.close();
    this.#connection = null;
  }

  async #connect(): Promise<void> {
    const { environment, clock } = this.#options;
    const headers: HeaderFields =
      environment.token === null ? {} : { authorization: `Bearer ${environment.token}` };
    const connection = new MesosConnection({
      target: environment.target,
      contentType: this.#contentType,
      headers,
      tls: environment.tls,
      clock,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      answerTimeoutMs: ANSWER_TIMEOUT_MS,
    });
    this.#connection = connection;
    const body = encode('executor.Call', this.#session.subscribeCall(), this.#contentType);
    const answer = await connection.subscribe(body, {
      onRecord: (record) => {
        if (connection === this.#connection) this.#onRecord(connection, record);
      },
      onEnd: (reason) => {
        if (connection === this.#connection) this.#lost(reason, false);
      },
    });
    if (connection !== this.#connection) return;
    switch (answer.kind) {
      case 'open':
        return;
      case 'failed':
        this.#lost(`agent does not answer: ${answer.reason}`, false);
        return;
      case 'redirect':
        this.#giveUp(`agent redirects to "${answer.location}", which agents never do`);
        return;
      case 'refused': {
        const text = `agent refused the subscription with HTTP ${answer.status}: ${answer.message}`;
        if (answer.status === 404 || answer.status >= 500) this.#lost(text, true);
        else this.#giveUp(text);
      }
    }
  }

  #onRecord(connection: MesosConnection, record: Buffer): void {
    const event: ExecutorEvent = decode('executor.Event', record, this.#contentType);
    if (event.type === 'SUBSCRIBED') {
      this.#hasSubscribed = true;
      connection.setSilenceLimit(SILENCE_MS_MAX);
      this.#options.log('info', 'subscribed to the Mesos agent', {
        agent: this.#options.environment.agentId,
      });
    }
    this.#perform(this.#session.onEvent(event));
    const agent = event.subscribed?.agent_info;
    if (agent !== undefined) this.#options.onSubscribed?.(agent);
  }

  #perform(outputs: readonly SessionOutput[]): void {
    const { onLaunch, onKill, onMessage, onShutdown, log } = this.#options;
    for (const output of outputs) {
      switch (output.kind) {
        case 'call':
          this.#send(output.call);
          break;
        case 'launch':
          onLaunch(output.task);
          break;
        case 'kill':
          onKill(output.taskId, output.graceMs);
          break;
        case 'message':
          onMessage(output.data);
          break;
        case 'shutdown':
          log('info', 'Mesos asks the executor to shut down');
          this.#isShuttingDown = true;
          onShutdown();
          break;
        case 'give-up':
          this.#giveUp(output.reason);
          break;
      }
    }
  }

  #send(call: ExecutorCall): void {
    const connection = this.#connection;
    if (connection === null) return;
    const bytes = encode('executor.Call', call, this.#contentType);
    void connection.call(bytes, {}).then((answer) => {
      if (answer.kind === 'accepted' || connection !== this.#connection) return;
      if (answer.kind === 'failed') {
        this.#lost(`call ${call.type ?? ''} got no answer: ${answer.reason}`, false);
        return;
      }
      const { status, message } = answer;
      this.#options.log('warn', 'agent refused a call', { type: call.type, status, message });
      // 400 is about this one call: it would be refused again. Anything else is about the subscription.
      if (status !== 400) this.#lost(`call ${call.type ?? ''} was refused with ${status}`, true);
    });
  }

  #lost(reason: string, isAgentUp: boolean): void {
    const { clock, environment, log, random } = this.#options;
    if (this.#isClosed) return;
    const wasSubscribed = this.#session.isSubscribed;
    this.#connection?.close();
    this.#connection = null;
    this.#session.disconnected();
    if (wasSubscribed) this.#awaySinceMs = clock.now();
    if (this.#isShuttingDown) return;
    if (this.#hasSubscribed && !environment.isCheckpointing) {
      this.#giveUp(`agent is gone and nothing is checkpointed: ${reason}`);
      return;
    }
    const awayMs = clock.now() - this.#awaySinceMs;
    const limitMs = environment.isCheckpointing ? environment.recoveryTimeoutMs : REGISTER_MS;
    if (awayMs >= limitMs) {
      this.#giveUp(`agent was away for ${Math.round(awayMs)} ms: ${reason}`);
      return;
    }
    const knockMs = environment.resubscribeWithinMs / KNOCKS_PER_WINDOW;
    const limit = Math.floor(isAgentUp ? Math.min(KNOCK_MS_MAX, knockMs) : knockMs);
    const waitMs = 1 + random.below(Math.max(1, limit));
    log(wasSubscribed ? 'warn' : 'debug', 'no subscription at the agent, trying again', {
      reason,
      waitMs,
    });
    this.#timer?.cancel();
    this.#timer = clock.after(waitMs, () => void this.#connect());
  }

  #giveUp(reason: string): void {
    if (this.#isClosed) return;
    this.close();
    this.#session.disconnected();
    this.#options.log('error', 'gave up the Mesos agent', { reason });
    this.#options.onGiveUp(reason);
  }

  /** Keeps idle connections open through whatever stands between (namespaces, proxies). */
  #beat(): void {
    this.#heartbeat = this.#options.clock.after(HEARTBEAT_MS, () => {
      if (this.#session.isSubscribed) this.#send(this.#session.heartbeatCall());
      this.#beat();
    });
  }
}

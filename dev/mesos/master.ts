/**
 * The master: one core (memory) at a time, its HTTP server, its allocation clock, and what agents
 * tell it. A restart throws the core away and reads the registry again, as a real failover does.
 */

import type { TaskState, TaskStatus } from '../../shared/mesos/messages.ts';
import { type AgentSide, isTerminal, type Link, type MasterSide } from './agent-protocol.ts';
import { disconnectAgent, registerAgent, removeAgent, startPingTimeout } from './agent-registry.ts';
import { ALLOCATION_MS, allocate } from './allocator.ts';
import { executorKey } from './executor-record.ts';
import { dropStream } from './framework-life.ts';
import { answerJson, answerText, HttpRefusal, HttpServer, type Request } from './http-server.ts';
import { checkDrained, sendInverseOffers } from './maintenance.ts';
import {
  type AgentRecord,
  MasterCore,
  type MasterOptions,
  VERSION,
  VERSION_ANSWER,
} from './master-core.ts';
import { getAgents, getFrameworks, getTasks } from './operator-answers.ts';
import { handleOperatorCall } from './operator-api.ts';
import { handleSchedulerCall } from './scheduler-api.ts';
import type { Cancel } from './timing.ts';

type Phase = 'no-route' | 'electing' | 'recovering' | 'ready';

export class Master implements MasterSide {
  readonly #options: MasterOptions;
  readonly #control: (request: Request) => boolean | Promise<boolean>;
  #core: MasterCore;
  #server: HttpServer | undefined;
  #phase: Phase = 'no-route';
  #cancelAllocation: Cancel = () => undefined;

  /** `control` answers requests of its own (returns false for those that are not). */
  constructor(
    options: Omit<MasterOptions, 'port'>,
    control: (request: Request) => boolean | Promise<boolean>,
  ) {
    this.#options = { ...options, port: 0 };
    this.#control = control;
    this.#core = new MasterCore(this.#options);
  }

  get core(): MasterCore {
    return this.#core;
  }

  get isRunning(): boolean {
    return this.#server !== undefined;
  }

  /** Listens and serves; returns the port. */
  async start(port: number, isRestart = false): Promise<number> {
    const server = new HttpServer((request) => this.#handle(request));
    const actual = await server.listen(this.#options.host, port);
    this.#server = server;
    this.#core = new MasterCore({ ...this.#options, port: actual });
    this.#cancelAllocation = this.#options.timing.every(ALLOCATION_MS, () => this.#cycle());
    this.#phase = isRestart ? 'no-route' : 'ready';
    if (isRestart) this.#goThrough(['electing', 'recovering', 'ready']);
    return actual;
  }

  /** The steps of a start, each for a while. */
  #goThrough(phases: readonly Phase[]): void {
    const [next, ...rest] = phases;
    if (next === undefined) return;
    this.#options.timing.afterReal(this.#options.startStepMs, () => {
      this.#phase = next;
      this.#goThrough(rest);
    });
  }

  /** Dies like a killed process: streams break, everything but the registry is forgotten. */
  async stop(): Promise<void> {
    this.#cancelAllocation();
    // An agent that asks to be registered meanwhile is not heard.
    this.#phase = 'no-route';
    for (const agent of this.#core.agents.values()) {
      agent.cancelPing();
      agent.link.break();
    }
    for (const framework of this.#core.frameworks.values()) {
      framework.cancelFailover();
      framework.subscription?.cancelHeartbeat();
      framework.subscription?.stream.destroy();
    }
    const server = this.#server;
    this.#server = undefined;
    await server?.close();
  }

  #cycle(): void {
    allocate(this.#core);
    sendInverseOffers(this.#core);
  }

  async #handle(request: Request): Promise<void> {
    if (await this.#control(request)) return;
    const path = request.path.replace(/^\/master(?=\/)/, '');
    if (path === '/health') answerText(request.response, 200, '');
    else if (path === '/version') answerJson(request.response, VERSION_ANSWER);
    else if (path === '/redirect') {
      const { hostname, port } = this.#core.options;
      answerText(request.response, 307, '', { Location: `//${hostname}:${port}` });
    } else this.#handleApi(request, path);
  }

  #handleApi(request: Request, path: string): void {
    if (this.#phase === 'no-route') throw new HttpRefusal(404, '404 Not Found.');
    if (this.#phase === 'electing') throw new HttpRefusal(503, 'No leader elected');
    if (this.#phase === 'recovering') {
      throw new HttpRefusal(503, 'Master has not finished recovery');
    }
    if (path === '/api/v1/scheduler') {
      if (this.#options.misbehaviour.current.refuseCalls) {
        throw new HttpRefusal(503, 'No leader elected');
      }
      if (handleSchedulerCall(this.#core, request) === 'aborted') void this.stop();
    } else if (path === '/api/v1' || path.startsWith('/api/v1/')) {
      // A real master takes any path below /api/v1 for the operator API.
      if (this.#options.lint && path !== '/api/v1') {
        throw new HttpRefusal(404, `Lint: Mesos takes "${path}" for the operator API`);
      }
      handleOperatorCall(this.#core, request);
    } else if (path === '/state' || path === '/state.json') this.#answerState(request);
    else throw new HttpRefusal(404, '404 Not Found.');
  }

  #answerState(request: Request): void {
    const core = this.#core;
    const { hostname, port, host } = core.options;
    answerJson(request.response, {
      version: VERSION,
      id: core.masterId,
      pid: `master@${host}:${port}`,
      hostname,
      leader: `master@${host}:${port}`,
      slaves: getAgents(core).agents ?? [],
      frameworks: getFrameworks(core).frameworks ?? [],
      tasks: getTasks(core).tasks ?? [],
    });
  }

  registerAgent(
    report: Parameters<MasterSide['registerAgent']>[0],
    side: AgentSide,
    link: Link,
  ): void {
    if (this.#phase === 'ready') registerAgent(this.#core, report, side, link);
  }

  unregisterAgent(agentId: string): void {
    const agent = this.#core.agents.get(agentId);
    if (agent !== undefined) removeAgent(this.#core, agent, 'the agent unregistered');
  }

  /** The agent's process ended and its connections with it. */
  agentStopped(agentId: string): void {
    const agent = this.#core.agents.get(agentId);
    if (agent !== undefined) disconnectAgent(this.#core, agent);
  }

  /** The agent lost its power: the master only stops hearing from it. */
  agentWentSilent(agentId: string): void {
    const agent = this.#core.agents.get(agentId);
    if (agent !== undefined) startPingTimeout(this.#core, agent);
  }

  /** It was silent, and is heard again in time. */
  agentIsHeard(agentId: string): void {
    this.#core.agents.get(agentId)?.cancelPing();
  }

  statusUpdate(
    agentId: string,
    frameworkId: string,
    status: TaskStatus,
    latestState: TaskState,
  ): void {
    const core = this.#core;
    if (!core.agents.has(agentId)) return;
    const task = core.findTask(frameworkId, status.task_id.value);
    if (task !== undefined) {
      task.state = latestState;
      if (!isTerminal(latestState) || status.state === latestState) task.status = status;
    }
    const { delayUpdatesMs, duplicateUpdates } = core.options.misbehaviour.current;
    const deliver = () => {
      core.sendStatus(frameworkId, status);
      if (duplicateUpdates) core.sendStatus(frameworkId, status);
    };
    if (delayUpdatesMs === 0) deliver();
    else core.options.timing.afterReal(delayUpdatesMs, deliver);
  }

  operationUpdate(...[agentId, report, total]: Parameters<MasterSide['operationUpdate']>): void {
    const core = this.#core;
    const agent = core.agents.get(agentId);
    if (agent === undefined) return;
    const { state } = report.status;
    // The agent could not do what the master had assumed.
    if (state === 'OPERATION_DROPPED' || state === 'OPERATION_FAILED') agent.total = total;
    if (report.operation.id === undefined) core.operations.delete(report.uuid);
    else core.operations.set(report.uuid, { ...report, agentId });
    const framework = core.frameworks.get(report.frameworkId ?? '');
    if (framework !== undefined && report.operation.id !== undefined) {
      const { status } = report;
      core.send(framework, {
        type: 'UPDATE_OPERATION_STATUS',
        update_operation_status: { status },
      });
    }
    checkDrained(core, agent);
  }

  executorExited(agentId: string, frameworkId: string, executorId: string, status: number): void {
    const core = this.#core;
    const agent = core.agents.get(agentId);
    if (agent === undefined) return;
    agent.executors.delete(executorKey(frameworkId, executorId));
    const framework = core.frameworks.get(frameworkId);
    if (framework === undefined) return;
    const failure = {
      agent_id: { value: agentId },
      executor_id: { value: executorId },
      status,
    };
    core.send(framework, { type: 'FAILURE', failure });
  }

  executorMessage(agentId: string, frameworkId: string, executorId: string, data: Buffer): void {
    const framework = this.#core.frameworks.get(frameworkId);
    if (framework === undefined) return;
    const message = { agent_id: { value: agentId }, executor_id: { value: executorId }, data };
    this.#core.send(framework, { type: 'MESSAGE', message });
  }

  /** Breaks the streams of all frameworks; they count as disconnected. */
  dropStreams(): void {
    for (const framework of this.#core.frameworks.values()) dropStream(this.#core, framework);
  }

  findAgent(agentId: string): AgentRecord | undefined {
    return this.#core.agents.get(agentId);
  }
}

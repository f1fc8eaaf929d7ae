/**
 * The executor API of one agent (POST /api/v1/executor, also below /slave(1)): decodes and
 * validates calls in the order of a real agent and passes them to the agent's executors.
 */

import { describeError } from '../../shared/base/errors.ts';
import { decode } from '../../shared/mesos/codec.ts';
import type { ExecutorCall, TaskStatus } from '../../shared/mesos/messages.ts';
import type { AgentExecutors } from './agent-executors.ts';
import { EventStream } from './event-stream.ts';
import { ExecutorConnection } from './executor-connection.ts';
import type { ExecutorRecord } from './executor-record.ts';
import {
  answerText,
  bareRefusal,
  HttpRefusal,
  type Request,
  requireAccept,
  requireCall,
} from './http-server.ts';
import type { MisbehaviourSwitch } from './misbehaviour.ts';

export type AgentPhase = 'no-route' | 'starting' | 'recovering' | 'ready';

export type ExecutorApi = {
  readonly executors: AgentExecutors;
  readonly misbehaviour: MisbehaviourSwitch;
  readonly phase: () => AgentPhase;
  readonly onMessage: (frameworkId: string, executorId: string, data: Buffer) => void;
  /** Refuse what a real agent would pass over in silence. */
  readonly lint: boolean;
};

export function isExecutorPath(path: string): boolean {
  return path === '/api/v1/executor' || path === '/slave(1)/api/v1/executor';
}

export function handleExecutorCall(api: ExecutorApi, request: Request): void {
  const phase = api.phase();
  if (phase === 'no-route') throw bareRefusal(404);
  if (phase === 'starting') throw new HttpRefusal(503, 'Agent has not finished recovery');
  const contentType = requireCall(request);
  const findings = { ignored: [] as string[] };
  let call: ExecutorCall;
  try {
    call = decode('executor.Call', request.body, contentType, findings);
  } catch (error) {
    throw new HttpRefusal(400, describeError(error));
  }
  if (api.lint && findings.ignored.length > 0) {
    throw new HttpRefusal(
      400,
      `Lint: fields that Mesos would ignore: ${findings.ignored.join(', ')}`,
    );
  }
  const message = findCallError(call);
  if (message !== undefined) {
    throw new HttpRefusal(400, `Failed to validate Executor::Call: ${message}`);
  }
  if (phase === 'recovering' && call.type !== 'SUBSCRIBE') {
    throw new HttpRefusal(503, 'Agent has not finished recovery');
  }
  dispatch(api, call, request);
}

function dispatch(api: ExecutorApi, call: ExecutorCall, request: Request): void {
  // A heartbeat of nobody is taken; everything else must come from an executor of this agent.
  if (call.type === 'HEARTBEAT') {
    answerText(request.response, 202, '');
    return;
  }
  const executor = requireExecutor(api, call);
  if (call.type === 'SUBSCRIBE') {
    subscribe(api, executor, call, request);
    return;
  }
  if (executor.connection === undefined) throw new HttpRefusal(403, 'Executor is not subscribed');
  if (call.type === 'UPDATE' && call.update !== undefined) {
    answerText(request.response, 202, '');
    api.executors.update(executor, call.update.status);
  } else if (call.type === 'MESSAGE' && call.message !== undefined) {
    answerText(request.response, 202, '');
    api.onMessage(call.framework_id.value, call.executor_id.value, call.message.data);
  } else throw bareRefusal(501);
}

function requireExecutor(api: ExecutorApi, call: ExecutorCall): ExecutorRecord {
  const frameworkId = call.framework_id.value;
  if (!api.executors.hasFramework(frameworkId)) {
    throw new HttpRefusal(400, 'Framework cannot be found');
  }
  const executor = api.executors.find(frameworkId, call.executor_id.value);
  if (executor === undefined) throw new HttpRefusal(400, 'Executor cannot be found');
  return executor;
}

function subscribe(
  api: ExecutorApi,
  executor: ExecutorRecord,
  call: ExecutorCall,
  request: Request,
): void {
  const contentType = requireAccept(request);
  const stream = new EventStream(
    request.response,
    { 'Content-Type': contentType },
    api.misbehaviour,
    () => api.executors.disconnected(executor, connection),
  );
  const connection = new ExecutorConnection(stream, contentType);
  api.executors.subscribe(executor, call, connection);
}

const UUID_BYTES = 16;

function findCallError(call: ExecutorCall): string | undefined {
  switch (call.type) {
    case undefined:
      return "Expecting 'type' to be present";
    case 'SUBSCRIBE':
      return call.subscribe === undefined ? "Expecting 'subscribe' to be present" : undefined;
    case 'UPDATE':
      return call.update === undefined
        ? "Expecting 'update' to be present"
        : findUpdateError(call, call.update.status);
    case 'MESSAGE':
      return call.message === undefined ? "Expecting 'message' to be present" : undefined;
    default:
      return undefined;
  }
}

function findUpdateError(call: ExecutorCall, status: TaskStatus): string | undefined {
  const sender = `executor ${call.executor_id.value} of framework ${call.framework_id.value}`;
  if (status.uuid === undefined) return "Expecting 'uuid' to be present";
  if (status.uuid.length !== UUID_BYTES) return 'Not a valid UUID';
  if (status.executor_id !== undefined && status.executor_id.value !== call.executor_id.value) {
    return `ExecutorID in Call: ${call.executor_id.value} does not match ExecutorID in TaskStatus: ${status.executor_id.value}`;
  }
  if (status.source !== 'SOURCE_EXECUTOR') {
    return `Received Call from ${sender} with invalid source, expecting 'SOURCE_EXECUTOR'`;
  }
  if (status.state === 'TASK_STAGING') {
    return `Received TASK_STAGING from ${sender} which is not allowed`;
  }
  return undefined;
}

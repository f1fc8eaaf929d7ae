/**
 * The stand-in's command executor: runs the command of one task in the sandbox and reports how it
 * ends. A process of its own, started by an agent; it speaks the executor API in JSON.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { type IncomingMessage, request } from 'node:http';
import { decode, encode, JSON_TYPE } from '../../shared/mesos/codec.ts';
import type {
  ExecutorCall,
  ExecutorEvent,
  TaskInfo,
  TaskState,
  TaskStatus,
} from '../../shared/mesos/messages.ts';
import { RecordDecoder } from '../../shared/mesos/recordio.ts';
import { freshUuid } from './task-status.ts';

/** Between attempts to reach the agent, which may be restarting. */
const RETRY_MS = 100;

/** A task without a kill policy has this long to end after SIGTERM. */
const GRACE_MS_DEFAULT = 3_000;

/** For the last acknowledgement to arrive before the process ends by itself. */
const LINGER_MS = 1_000;

const [host, port] = (process.env['MESOS_AGENT_ENDPOINT'] ?? '').split(':');
const executorId = process.env['MESOS_EXECUTOR_ID'] ?? '';
const frameworkId = process.env['MESOS_FRAMEWORK_ID'] ?? '';

let task: TaskInfo | undefined;
let child: ChildProcess | undefined;
let isKilled = false;
const unacknowledged = new Map<string, { readonly status: TaskStatus }>();

function call(
  body: Partial<ExecutorCall>,
  onAnswer: (answer: IncomingMessage | undefined) => void,
) {
  const message: ExecutorCall = {
    executor_id: { value: executorId },
    framework_id: { value: frameworkId },
    ...body,
  };
  const headers = { 'Content-Type': JSON_TYPE, Accept: JSON_TYPE };
  const path = '/api/v1/executor';
  const outgoing = request({ host, port, path, method: 'POST', headers }, onAnswer);
  outgoing.on('error', () => onAnswer(undefined));
  outgoing.end(encode('executor.Call', message, JSON_TYPE));
}

function subscribe(): void {
  const retry = () => void setTimeout(subscribe, RETRY_MS);
  const unacknowledged_tasks = task === undefined ? [] : [task];
  const unacknowledged_updates = [...unacknowledged.values()];
  const body = { unacknowledged_tasks, unacknowledged_updates };
  call({ type: 'SUBSCRIBE', subscribe: body }, (answer) => {
    if (answer === undefined || answer.statusCode !== 200) {
      answer?.resume();
      retry();
      return;
    }
    const decoder = new RecordDecoder();
    answer.on('data', (chunk: Buffer) => {
      for (const record of decoder.push(chunk)) handle(decode('executor.Event', record, JSON_TYPE));
    });
    answer.on('error', () => undefined); // `close` follows
    answer.on('close', retry);
  });
}

function handle(event: ExecutorEvent): void {
  if (event.launch !== undefined) launch(event.launch.task);
  if (event.acknowledged !== undefined) {
    unacknowledged.delete(event.acknowledged.uuid.toString('hex'));
  }
  if (event.kill !== undefined) {
    const grace = event.kill.kill_policy?.grace_period ?? task?.kill_policy?.grace_period;
    kill(grace === undefined ? GRACE_MS_DEFAULT : Number(grace.nanoseconds) / 1e6);
  }
  if (event.type !== 'SHUTDOWN') return;
  if (child === undefined) process.exit(0);
  kill(GRACE_MS_DEFAULT);
}

function launch(given: TaskInfo): void {
  task = given;
  const command = given.command ?? {};
  const variables = command.environment?.variables ?? [];
  const more = Object.fromEntries(variables.map((one) => [one.name, one.value ?? '']));
  const [, ...rest] = command.arguments ?? [];
  const isShell = command.shell !== false;
  const program = isShell ? '/bin/sh' : (command.value ?? '');
  update('TASK_STARTING');
  child = spawn(program, isShell ? ['-c', command.value ?? ''] : rest, {
    env: { ...process.env, ...more },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  child.on('spawn', () => update('TASK_RUNNING'));
  child.on('error', (error) => end('TASK_FAILED', `Command cannot be started: ${error.message}`));
  child.on('exit', (code, signal) => {
    const how = signal === null ? `exited with status ${code}` : `terminated with signal ${signal}`;
    const state = isKilled ? 'TASK_KILLED' : code === 0 ? 'TASK_FINISHED' : 'TASK_FAILED';
    end(state, `Command ${how}`);
  });
}

function kill(graceMs: number): void {
  if (child === undefined || isKilled) return;
  isKilled = true;
  update('TASK_KILLING');
  child.kill('SIGTERM');
  setTimeout(() => child?.kill('SIGKILL'), graceMs).unref();
}

function end(state: TaskState, message: string): void {
  update(state, message);
  setTimeout(() => process.exit(0), LINGER_MS);
}

function update(state: TaskState, message?: string): void {
  if (task === undefined) return;
  const uuid = freshUuid();
  const status: TaskStatus = {
    task_id: task.task_id,
    state,
    message,
    source: 'SOURCE_EXECUTOR',
    timestamp: Date.now() / 1000,
    uuid,
  };
  unacknowledged.set(uuid.toString('hex'), { status });
  call({ type: 'UPDATE', update: { status } }, (answer) => answer?.resume());
}

subscribe();

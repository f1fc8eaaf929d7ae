#!/usr/bin/env node
/**
 * A custom executor as small as can be, for tests of the Mesos stand-in: it speaks the v1 API in JSON over
 * plain HTTP, runs no real tasks, and does what messages tell it to (`{"do": "exit", "code": 7}` …).
 */

import { randomUUID } from 'node:crypto';
import { appendFileSync, readdirSync, readlinkSync } from 'node:fs';
import { request } from 'node:http';

const env = process.env;
const [host, port] = env.MESOS_AGENT_ENDPOINT.split(':');
const ids = {
  executor_id: { value: env.MESOS_EXECUTOR_ID },
  framework_id: { value: env.MESOS_FRAMEWORK_ID },
};
const tasks = new Map();
const updates = new Map();

const freshUuid = () => Buffer.from(randomUUID().replaceAll('-', ''), 'hex').toString('base64');
const note = (line) => appendFileSync('log', `${line}\n`);

function call(body, onAnswer) {
  const text = JSON.stringify({ ...ids, ...body });
  const outgoing = request(
    {
      host,
      port,
      path: '/api/v1/executor',
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        Accept: 'application/json',
        'Content-Length': Buffer.byteLength(text),
      },
    },
    onAnswer ??
      ((answer) => {
        answer.resume();
        note(`${body.type} ${answer.statusCode}`);
      }),
  );
  outgoing.on('error', () => onAnswer?.(undefined));
  outgoing.end(text);
}

function update(taskId, state, more = {}) {
  const status = {
    task_id: { value: taskId },
    state,
    source: 'SOURCE_EXECUTOR',
    uuid: freshUuid(),
    timestamp: Date.now() / 1000,
    ...more,
  };
  updates.set(status.uuid, { status });
  call({ type: 'UPDATE', update: { status } });
}

let again;
function subscribe() {
  clearTimeout(again);
  const retry = () => {
    clearTimeout(again);
    again = setTimeout(subscribe, 50);
  };
  const subscribe_ = {
    unacknowledged_tasks: [...tasks.values()].filter((one) => !one.acked).map((one) => one.info),
    unacknowledged_updates: [...updates.values()],
  };
  call({ type: 'SUBSCRIBE', subscribe: subscribe_ }, (answer) => {
    if (answer === undefined) return retry();
    note(`SUBSCRIBE ${answer.statusCode}`);
    if (answer.statusCode !== 200) {
      answer.resume();
      return retry();
    }
    let rest = Buffer.alloc(0);
    answer.on('data', (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (;;) {
        const line = rest.indexOf(10);
        const length = line < 0 ? Infinity : Number(rest.subarray(0, line));
        if (rest.length < line + 1 + length) break;
        handle(JSON.parse(rest.subarray(line + 1, line + 1 + length)));
        rest = rest.subarray(line + 1 + length);
      }
    });
    answer.on('error', () => undefined);
    answer.on('close', retry);
  });
}

const sandbox = () =>
  Object.fromEntries(
    readdirSync('.').map((name) => {
      try {
        return [name, readlinkSync(name)];
      } catch {
        return [name, null];
      }
    }),
  );

function handle(event) {
  note(event.type);
  if (event.type === 'LAUNCH') {
    const info = event.launch.task;
    tasks.set(info.task_id.value, { info, acked: false });
    if (info.name === 'quiet') return;
    update(info.task_id.value, 'TASK_STARTING');
    update(info.task_id.value, 'TASK_RUNNING', {
      message: 'serving',
      data: Buffer.from(JSON.stringify(sandbox())).toString('base64'),
      healthy: true,
      labels: { labels: [{ key: 'part', value: 'tiny' }] },
    });
  } else if (event.type === 'ACKNOWLEDGED') {
    updates.delete(event.acknowledged.uuid);
    const task = tasks.get(event.acknowledged.task_id.value);
    if (task !== undefined) task.acked = true;
  } else if (event.type === 'KILL') {
    const { value } = event.kill.task_id;
    update(value, 'TASK_KILLING');
    setTimeout(() => {
      update(value, 'TASK_KILLED');
      tasks.delete(value);
    }, 100);
  } else if (event.type === 'SHUTDOWN') {
    if (env.IGNORE_SHUTDOWN === '1') return;
    for (const value of tasks.keys()) update(value, 'TASK_KILLING');
    setTimeout(() => {
      for (const value of tasks.keys())
        update(value, 'TASK_KILLED', { message: 'executor shutdown' });
    }, 100);
    setTimeout(() => process.exit(0), 300);
  } else if (event.type === 'MESSAGE') {
    const text = Buffer.from(event.message.data, 'base64').toString();
    const order = text.startsWith('{') ? JSON.parse(text) : {};
    if (order.do === 'exit') process.exit(order.code);
    else if (order.do === 'finish') {
      update(order.task, 'TASK_FINISHED');
      tasks.delete(order.task);
    } else if (order.do === 'fail') {
      update(order.task, 'TASK_FAILED', { message: 'disk error' });
      tasks.delete(order.task);
    } else if (order.do === 'sandbox')
      call({
        type: 'MESSAGE',
        message: { data: Buffer.from(JSON.stringify(sandbox())).toString('base64') },
      });
    else if (order.do === 'call')
      call(order.call, (answer) => {
        const chunks = [];
        answer.on('data', (chunk) => chunks.push(chunk));
        answer.on('end', () =>
          call({
            type: 'MESSAGE',
            message: {
              data: Buffer.from(`${answer.statusCode} ${Buffer.concat(chunks)}`).toString('base64'),
            },
          }),
        );
      });
    else
      call({ type: 'MESSAGE', message: { data: Buffer.from(`echo ${text}`).toString('base64') } });
  }
}

subscribe();
setInterval(() => undefined, 1000);

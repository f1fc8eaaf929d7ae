/**
 * A small executor for these tests, started by an agent of the stand-in as a process of its own: a task
 * writes one file into its volume and runs until it is killed. Messages make it misbehave.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createMesosExecutor, type MesosExecutor } from '../../../executor/mesos.ts';
import { readMesosEnvironment } from '../../../executor/mesos-environment.ts';
import { decodeTaskData, encodeHint } from '../../../shared/model/task-data.ts';
import { systemClock } from '../../../shared/node/clock.ts';
import { systemRandom } from '../../../shared/node/random.ts';

const environment = readMesosEnvironment(process.env);
const tasks = new Set<string>();
const log = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

function failAll(): void {
  log('failing all');
  for (const taskId of tasks) executor.update(taskId, 'TASK_FAILED', { message: 'disk error' });
  tasks.clear();
}

process.on('SIGUSR2', failAll);

const executor: MesosExecutor = createMesosExecutor({
  environment,
  contentType: process.env['TINY_JSON'] === '1' ? 'application/json' : 'application/x-protobuf',
  clock: systemClock,
  random: systemRandom,
  log: (level, message, fields) => log(`${level} ${message} ${JSON.stringify(fields ?? {})}`),
  onLaunch(task) {
    const taskId = task.task_id.value;
    tasks.add(taskId);
    executor.update(taskId, 'TASK_STARTING', { message: '' });
    const data = decodeTaskData(task.data ?? Buffer.alloc(0));
    const file = join(environment.sandbox, data.containerPath, 'identity');
    // The volume's own history: which tasks have held it.
    const before = existsSync(file) ? readFileSync(file, 'utf8') : '';
    writeFileSync(file, `${before}${data.uuid} ${taskId}\n`);
    executor.update(taskId, 'TASK_RUNNING', { message: before === '' ? 'new' : 'found' });
  },
  onKill(taskId) {
    tasks.delete(taskId);
    executor.update(taskId, 'TASK_KILLED', { message: 'killed' });
  },
  onMessage(data) {
    const text = data.toString('utf8');
    log(`message ${text}`);
    if (text.includes('"exit"')) process.exit(7);
    if (text.includes('"ask"')) executor.sendMessage(encodeHint({ kind: 'where' }));
  },
  onShutdown() {
    for (const taskId of tasks) executor.update(taskId, 'TASK_KILLED', { message: 'shutdown' });
    const leave = (): void => {
      if (executor.pendingUpdates === 0) process.exit(0);
      systemClock.after(10, leave);
    };
    leave();
  },
  onGiveUp(reason) {
    log(`gave up: ${reason}`);
    process.exit(3);
  },
});

/** The yardstick: qemu-nbd on a plain file, one copy, no checksums, in the same file system. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { present } from '../shared/base/assert.ts';
import { StorageError } from '../shared/base/errors.ts';
import type { Target } from './target.ts';

const START_DEADLINE_MS = 20_000;
const POLL_MS = 20;

export async function openQemu(directory: string, sizeBytes: number): Promise<Target> {
  const folder = join(directory, 'qemu');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'raw');
  const socket = join(folder, 'nbd.sock');
  writeFileSync(file, '');
  truncateSync(file, sizeBytes);
  const child = spawn(
    'qemu-nbd',
    ['--format=raw', '--cache=writeback', '--persistent', '--shared=8', `--socket=${socket}`, file],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const close = async (): Promise<void> => {
    await end(child);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await waitForSocket(child, socket);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    uri: `nbd+unix:///?socket=${socket}`,
    dataProcesses: [{ role: 'qemu-nbd', pid: present(child.pid, 'it was started') }],
    otherProcesses: [],
    close,
  };
}

async function waitForSocket(child: ChildProcess, socket: string): Promise<void> {
  let failure: string | null = null;
  child.on('error', (error) => {
    failure = error.message;
  });
  child.on('exit', (code, signal) => {
    failure ??= `it ended with ${signal ?? code}`;
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    failure = chunk.toString().trim();
  });
  const deadline = Date.now() + START_DEADLINE_MS;
  while (!existsSync(socket)) {
    if (failure !== null || Date.now() > deadline) {
      throw new StorageError(
        'unavailable',
        `Starting qemu-nbd on "${socket}" failed: ${failure ?? `no socket within ${START_DEADLINE_MS} ms`}`,
      );
    }
    await sleep(POLL_MS);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

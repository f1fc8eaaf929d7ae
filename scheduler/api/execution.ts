/** Commands to the manager: what it refuses is thrown; what takes it long is not waited for. */
import type { Command } from '../core/contract.ts';
import type { ManagerPort } from './manager-port.ts';

/** The manager commits within milliseconds; a caller who waits for nothing else still waits for that. */
const COMMIT_MS = 2000;

/** Executes, and throws what the manager refuses. */
export async function run(manager: ManagerPort, command: Command): Promise<void> {
  const result = await manager.execute(command);
  if (result.kind === 'failed') throw result.error;
}

/**
 * The same, but returns false when there is no answer after `waitMs`: the manager goes on with it by
 * itself (an attach that waits for a lease, a detach that waits for clients), up to its own deadline.
 */
export async function runWithin(
  manager: ManagerPort,
  command: Command,
  waitMs: number,
): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), Math.max(waitMs, COMMIT_MS));
  });
  const done = run(manager, command).then(() => true);
  // When it fails after its caller was answered, nobody is left to be told.
  done.catch(() => undefined);
  try {
    return await Promise.race([done, late]);
  } finally {
    clearTimeout(timer);
  }
}

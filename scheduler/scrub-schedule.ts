/** Adapter: starts the regular scrub at the times that a cron expression gives, in the machine's own time. */
import cron from 'node-cron';
import { StorageError } from '../shared/base/errors.ts';
import type { Log } from '../shared/ports.ts';
import type { Command, CommandResult } from './core/contract.ts';

/** Sunday night: a week is the usual pace for scrubbing disks. */
export const DEFAULT_SCRUB_SCHEDULE = '0 3 * * 0';
const OFF = 'off';

export interface ScrubSchedule {
  stop(): void;
}

/** Throws `invalid-argument`. */
export function checkScrubSchedule(expression: string): void {
  if (expression === OFF || cron.validate(expression)) return;
  throw new StorageError(
    'invalid-argument',
    `Scrub schedule is "${expression}", expected a cron expression such as "${DEFAULT_SCRUB_SCHEDULE}", or "${OFF}"`,
    { field: '--scrub-schedule (CISTERN_SCRUB_SCHEDULE)', given: expression },
  );
}

export function scheduleScrub(
  expression: string,
  execute: (command: Command) => Promise<CommandResult>,
  log: Log,
): ScrubSchedule {
  checkScrubSchedule(expression);
  if (expression === OFF) return { stop: () => undefined };
  const task = cron.schedule(expression, async () => {
    const scope = { pool: null, volume: null, disk: null };
    const result = await execute({ kind: 'start-scrub', scope, isScheduled: true });
    // One that has not come to its end yet goes on: it is the regular one, or somebody wanted it.
    if (result.kind === 'failed') {
      log('warn', 'The regular scrub did not start', { reason: result.error.message });
    }
  });
  return { stop: () => void task.stop() };
}

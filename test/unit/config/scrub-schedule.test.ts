import { expect } from 'chai';
import type { Command } from '../../../scheduler/core/contract.ts';
import { checkScrubSchedule, scheduleScrub } from '../../../scheduler/scrub-schedule.ts';
import { StorageError } from '../../../shared/base/errors.ts';

describe('scrub schedule', () => {
  it('scrub schedule: cron expressions and "off" are taken, all else is refused with a reason', () => {
    for (const good of ['0 3 * * 0', '*/5 * * * *', 'off']) checkScrubSchedule(good);
    for (const bad of ['', 'weekly', '61 3 * * 0', '0 3 * *']) {
      expect(() => checkScrubSchedule(bad), bad).to.throw(StorageError, /Scrub schedule is/);
    }
  });

  it('scrub schedule: its time comes, everything is scrubbed; a refusal is logged', async () => {
    const commands: Command[] = [];
    const logged: string[] = [];
    const error = new StorageError('conflict', 'A scrub is running already');
    await new Promise<void>((resolve) => {
      const schedule = scheduleScrub(
        '* * * * * *',
        async (command) => {
          commands.push(command);
          return { kind: 'failed', error };
        },
        (_level, _message, fields) => {
          logged.push(String(fields?.['reason']));
          schedule.stop();
          resolve();
        },
      );
    });
    const scope = { pool: null, volume: null, disk: null };
    expect(commands[0]).to.deep.equal({ kind: 'start-scrub', scope, isScheduled: true });
    expect(logged[0]).to.equal('A scrub is running already');
  });
});

/** What a PG waits for whose members lost their memory (suspects.ts), as causes and as an outlook. */
import { formatDisk, formatPg } from '../../../shared/base/ids.ts';
import { suspectWait } from '../members/suspects.ts';
import type { PgRecord } from '../records.ts';
import { deadline, type Fact, type Outlook, type Scene, toWall, WAIT } from './explanation.ts';

/** One for each suspect; none in a PG without. */
export function suspectFacts({ state, now }: Scene, pg: PgRecord): readonly Fact[] {
  const sinceMs = toWall(now, state.work.suspectPgs.get(pg.id)?.sinceMs);
  return (pg.suspects ?? []).map((id) => {
    const subject = formatDisk(id);
    const message = `${subject} lost with the power of its machine what it had acked and not flushed: it serves nothing in ${formatPg(pg.id)}`;
    return { subject, message, sinceMs };
  });
}

/** null: the PG has no suspects. */
export function suspectOutlook({ state, now }: Scene, pg: PgRecord): Outlook | null {
  const wait = suspectWait(state, pg);
  if (wait === null) return null;
  const names = wait.awaited.map(formatDisk).join(' or ');
  if (names === '') {
    return {
      next: 'It is decided at this moment with whom it goes on',
      ...deadline(now.wallMs, now, 'it is due now'),
      ...WAIT,
    };
  }
  return {
    next: `I/O there goes on when ${names} is back and has every write; if it is not by the deadline, without it: then acked writes that were not flushed may be lost, flushed ones are not`,
    ...deadline(
      toWall(now, wait.untilMs) ?? now.wallMs,
      now,
      `it goes on as soon as the lease of ${names} has certainly run out and another member serves`,
    ),
    action: `Bring ${names} back`,
    command: null,
  };
}

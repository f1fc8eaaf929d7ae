/** Why the scheduler leaves everything alone: Mesos shows disks of a cluster that the store does not know. */
import { ADOPT_ADVICE, ADOPT_COMMAND, findLostStore } from '../mesos/lost-store.ts';
import { type Explanation, makeExplanation, open, type Scene, toWall } from './explanation.ts';

/** null: the store knows what Mesos shows. */
export function explainStore({ state, now }: Scene): Explanation | null {
  const lost = findLostStore(state);
  if (lost === null) return null;
  return makeExplanation({
    kind: 'cluster',
    subject: 'store',
    state: 'maintenance',
    severity: 'critical',
    message: lost.message,
    sinceMs: toWall(now, lost.sinceMs),
    causes: [],
    next: 'Every offer is declined: nothing is claimed, launched or given back, until the store knows those disks or they are said to be of no concern',
    ...open('it depends on an operator'),
    action: ADOPT_ADVICE,
    command: ADOPT_COMMAND,
  });
}

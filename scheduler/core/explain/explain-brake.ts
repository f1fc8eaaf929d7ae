/** Why re-replication waits although copies are missing, when it goes on, and how to override that. */
import { BRAKE_WINDOW_MS, describeAway, measureAway } from '../brake.ts';
import { explainNode } from './explain-node.ts';
import { causedBy, type Explanation, makeExplanation, open, type Scene } from './explanation.ts';

export const BRAKE_NEXT =
  'It is copied when enough of what is away is back, or an operator releases the brake';

/** null: nothing is held back. A released brake is said, too: it does not engage again for this failure. */
export function explainBrake(scene: Scene): Explanation | null {
  const { state } = scene;
  const brake = state.facts.cluster.brake ?? null;
  if (brake === null || brake.isReleased) return null;
  const away = measureAway(state, Number.NEGATIVE_INFINITY);
  const windowMs = state.options.brakeWindowMs ?? BRAKE_WINDOW_MS;
  return makeExplanation({
    kind: 'cluster',
    subject: 'brake',
    state: 'engaged',
    severity: 'degraded',
    message: `The brake holds re-replication back: ${brake.reason}`,
    sinceMs: brake.sinceMs,
    causes: [
      { subject: 'cluster', message: `Now ${describeAway(away)}`, sinceMs: null },
      ...away.nodes.flatMap((id) => causedBy(explainNode(scene, state.facts.nodes.get(id)))),
    ],
    next: 'It ends by itself when no more than a third of the nodes and a quarter of the capacity are away; disks that come back join again at once, and I/O goes on where a replica is left',
    ...open(
      windowMs === 0
        ? 'the brake was switched off and ends at the next look'
        : 'it depends on when the nodes are back',
    ),
    action:
      'Bring the nodes back: usually they share a switch, a power feed or an upgrade. Only when they will not come back, let their data be copied now',
    command: 'cistern brake release',
  });
}

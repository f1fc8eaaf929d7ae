/**
 * Is everything well? If not: what, and what happens next by itself or by an operator's hand. Never a colour
 * without a reason: both come from the explanations (explain.ts), and from nowhere else.
 */
import type { Health, HealthReason } from '../../../shared/model/api-views.ts';
import type { Now, State } from '../state.ts';
import { explainCluster, worstFirst } from './explain.ts';
import { createScene, type Explanation } from './explanation.ts';

export interface HealthReport {
  readonly health: Health;
  readonly reasons: readonly HealthReason[];
}

export function clusterHealth(state: State, now: Now): HealthReport {
  return healthOf(explainCluster(createScene(state, now)));
}

/** What is on its way as intended (a notice) does not make anything less healthy. */
export function healthOf(explanations: readonly Explanation[]): HealthReport {
  const findings = worstFirst(explanations).filter((one) => one.severity !== 'notice');
  const [worst] = findings;
  return {
    health: worst === undefined || worst.severity === 'notice' ? 'ok' : worst.severity,
    reasons: findings.map(({ subject, message, next }) => ({ subject, message, next })),
  };
}

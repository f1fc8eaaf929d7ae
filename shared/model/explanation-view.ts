/**
 * What `GET /v1/explain` answers: for everything that is not green, why it is so, what happens next by
 * itself and by when, and the one safe thing that an operator may do. Made by `scheduler/core/explain/explain.ts`.
 */

/** notice: on its way, as intended. degraded: works, with less in hand. critical: I/O waits or data is at risk. */
export type ExplanationSeverity = 'notice' | 'degraded' | 'critical';

export type ExplanationKind =
  | 'cluster'
  | 'mesos'
  | 'node'
  | 'disk'
  | 'pool'
  | 'pg'
  | 'volume'
  | 'job';

/** One link of the chain: the fact, what it is about, and since when. */
export interface CauseView {
  /** `n3`, `d7`, `pg12`, `v5`, `j4`, a pool's name, `mesos`, `cluster`. */
  readonly subject: string;
  readonly message: string;
  /** null: the manager does not know (it may have begun before it led). */
  readonly since: string | null;
}

export interface ExplanationView extends CauseView {
  readonly kind: ExplanationKind;
  /** The word that the subject's own view has for it: `degraded`, `paused`, `down`, … */
  readonly state: string;
  readonly severity: ExplanationSeverity;
  /** Nearest first; the last one is the root as far as the manager knows. */
  readonly causes: readonly CauseView[];
  /** What happens next by itself. */
  readonly next: string;
  /** By when; null when nobody can know, and then `noDeadline` says why. */
  readonly by: string | null;
  /** Empty when `by` is given. */
  readonly noDeadline: string;
  /** The one safe thing an operator may do; "Nothing, wait" when there is none. */
  readonly action: string;
  /** The exact command for it; null when it is none of ours. */
  readonly command: string | null;
}

export interface ExplainView {
  readonly at: string;
  /** What was asked about; null for everything that is not green. */
  readonly subject: string | null;
  /** Worst first; empty when all is green. */
  readonly explanations: readonly ExplanationView[];
  /** How many more there are: the answer is bounded. */
  readonly omittedCount: number;
}

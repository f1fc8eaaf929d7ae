/**
 * What an explanation is made of. Every state that is not green has one: the chain of causes, what
 * happens next by itself and by when (or why nobody can say when), and the one safe thing to do.
 * The files `explain-*.ts` make them, one per kind of subject; `explain.ts` puts them together.
 *
 * Explanations only read the state, and are the one source of what health says as well.
 */
import { assert } from '../../../shared/base/assert.ts';
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import type {
  ExplanationKind,
  ExplanationSeverity,
  ExplanationView,
} from '../../../shared/model/explanation-view.ts';
import { servingSet } from '../members/pg-state.ts';
import type { Now, State } from '../state.ts';

/** One link of a chain. Wall time; null when the manager does not know since when. */
export interface Fact {
  readonly subject: string;
  readonly message: string;
  readonly sinceMs: number | null;
}

/** What happens next, and what an operator may do about it. */
export interface Outlook {
  readonly next: string;
  /** Wall time; null: nobody can know, and `noDeadline` says why. */
  readonly byMs: number | null;
  readonly noDeadline: string;
  readonly action: string;
  readonly command: string | null;
}

export interface Explanation extends Fact, Outlook {
  readonly kind: ExplanationKind;
  readonly state: string;
  readonly severity: ExplanationSeverity;
  /** Nearest first, the root last. */
  readonly causes: readonly Fact[];
}

export const WAIT = { action: 'Nothing, wait', command: null } as const;

/** A chain that is longer helps nobody at three in the morning. */
const CAUSES_MAX = 8;

/** One look at the state: what is looked up often is made once. */
export interface Scene {
  readonly state: State;
  readonly now: Now;
  readonly serving: ReadonlySet<DiskId>;
  readonly nodes: Map<NodeId, Explanation | null>;
  readonly disks: Map<DiskId, Explanation | null>;
}

export function createScene(state: State, now: Now): Scene {
  return { state, now, serving: servingSet(state), nodes: new Map(), disks: new Map() };
}

/** Checks the promise of every explanation: something happens next, with a deadline or a reason for none. */
export function makeExplanation(explanation: Explanation): Explanation {
  const { subject, next, byMs, noDeadline, action } = explanation;
  assert(next !== '' && action !== '', 'an explanation says what comes next', { subject });
  assert((byMs === null) === (noDeadline !== ''), 'an explanation has a deadline or says why not', {
    subject,
    next,
  });
  return { ...explanation, causes: withoutRepeats(explanation) };
}

/** The explanation as the nearest cause of something else, then its own causes. */
export function causedBy(explanation: Explanation | null): readonly Fact[] {
  if (explanation === null) return [];
  const { subject, message, sinceMs, causes } = explanation;
  return [{ subject, message, sinceMs }, ...causes];
}

/** A deadline, unless it has passed: then `overdue` says why what was due has not happened yet. */
export function deadline(
  byMs: number,
  now: Now,
  overdue: string,
): { readonly byMs: number | null; readonly noDeadline: string } {
  return byMs > now.wallMs ? { byMs, noDeadline: '' } : { byMs: null, noDeadline: overdue };
}

export function open(noDeadline: string): { readonly byMs: null; readonly noDeadline: string } {
  return { byMs: null, noDeadline };
}

/** Monotonic time of the manager as wall time; null for "never". */
export function toWall(now: Now, atMs: number | null | undefined): number | null {
  if (atMs === null || atMs === undefined || !Number.isFinite(atMs)) return null;
  return now.wallMs - (now.ms - atMs);
}

/** Since when the oldest of the causes holds. */
export function earliest(causes: readonly Fact[]): number | null {
  let found: number | null = null;
  for (const { sinceMs } of causes) {
    if (sinceMs !== null && (found === null || sinceMs < found)) found = sinceMs;
  }
  return found;
}

export function explanationView(explanation: Explanation): ExplanationView {
  const { sinceMs, byMs, causes, ...rest } = explanation;
  return {
    ...rest,
    since: formatTime(sinceMs),
    by: formatTime(byMs),
    causes: causes.map(({ subject, message, sinceMs: since }) => ({
      subject,
      message,
      since: formatTime(since),
    })),
  };
}

function formatTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

function withoutRepeats(explanation: Explanation): readonly Fact[] {
  const seen = new Set([`${explanation.subject} ${explanation.message}`]);
  const causes: Fact[] = [];
  for (const cause of explanation.causes) {
    const key = `${cause.subject} ${cause.message}`;
    if (seen.has(key)) continue;
    seen.add(key);
    causes.push(cause);
  }
  return causes.slice(0, CAUSES_MAX);
}

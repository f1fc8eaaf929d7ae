/**
 * One Mesos agent as its last offer showed it, and why what it offered was or was not taken. Also of agents
 * on which no node of ours runs.
 */

export interface AgentReasonView {
  /** A word for programs: `attribute`, `size`, `maintenance`, `nothing-wanted` … */
  readonly kind: string;
  /** The pool that did not want it; null when it is not about a pool. */
  readonly pool: string | null;
  /** One sentence without its end. */
  readonly message: string;
}

export interface AgentDiskView {
  readonly kind: 'mount' | 'path' | 'root' | null;
  readonly root: string | null;
  readonly sizeBytes: number;
  readonly owner: 'free' | 'ours' | 'foreign';
  /** The disk of ours that it is (d7). */
  readonly disk: string | null;
  /** Why it was not taken; empty when it was, or is ours. */
  readonly reasons: readonly AgentReasonView[];
}

export interface AgentAnswerView {
  readonly at: string;
  readonly answer: 'accepted' | 'declined';
  readonly why: string;
}

export interface AgentView {
  /** Mesos' id of it. */
  readonly id: string;
  readonly hostname: string;
  /** The node that runs there (n3). */
  readonly node: string | null;
  readonly zone: string | null;
  readonly region: string | null;
  readonly attributes: Readonly<Record<string, string>>;
  /** null: nothing of it was offered since this manager began. */
  readonly lastOfferAt: string | null;
  readonly answer: 'accepted' | 'declined' | null;
  /** One sentence: what came of its last offer, or why there was none. */
  readonly summary: string;
  /** Why nothing of it was taken, whatever its disks are. */
  readonly reason: AgentReasonView | null;
  readonly disks: readonly AgentDiskView[];
  /** Answers to the offers before, newest first. */
  readonly earlier: readonly AgentAnswerView[];
}

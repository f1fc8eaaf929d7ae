/**
 * A mutation: one deliberate defect of production code, and how the simulator must find it. Production
 * code carries no switches for this: the mutated source is compiled when its module is loaded
 * (module-hook.ts). Each edit names code that its file holds exactly once, so that a list that no longer
 * fits the code fails a test instead of testing nothing.
 */
import type { ClusterOptions } from '../simulation/cluster.ts';
import type { SwarmOptions } from '../simulation/swarm.ts';
import type { Script } from './scripts.ts';

export interface Edit {
  /** Source file, from the project's root. */
  readonly file: string;
  /** Part of the source; must be there exactly once. */
  readonly code: string;
  readonly replacement: string;
}

/** What is simulated to find it: only what is named differs from `CALM` (trial-options.ts). */
export interface Trial {
  readonly options: Partial<Omit<SwarmOptions, 'cluster' | 'seed'>>;
  readonly cluster?: Partial<Omit<ClusterOptions, 'seed'>>;
  /** Faults at fixed places, besides those of `options.faults`. */
  readonly script?: Script;
  /** Without the defect no read or write fails under these faults: one that does is a finding. */
  readonly failsNothing?: boolean;
  /** What the script's faults may leave behind without the defect, too. */
  readonly mayLeave?: RegExp;
  /** It must be found within so many seeds, from 1 on: about three times what it took. */
  readonly seedsMax: number;
}

export interface Mutation {
  readonly name: string;
  /** What is wrong, as a sentence. */
  readonly defect: string;
  readonly edits: readonly Edit[];
  /** Numbers in docs/invariants.md that it breaks. */
  readonly breaks: readonly string[];
  readonly trial: Trial;
}

/** The mutated text of one of its files. Throws when an edit does not fit any more. */
export function applyEdits(file: string, source: string, edits: readonly Edit[]): string {
  let text = source;
  for (const edit of edits) {
    if (edit.file !== file) continue;
    const parts = text.split(edit.code);
    if (parts.length !== 2) {
      throw new Error(
        `Mutated ${file}: found ${parts.length - 1} times, expected once: "${edit.code}"`,
      );
    }
    text = parts.join(edit.replacement);
  }
  return text;
}

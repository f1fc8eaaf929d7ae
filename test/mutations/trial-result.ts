/** What a trial's process says about its mutation, and which checker the violation names. */

export interface TrialResult {
  /** The seed that found it, or the last one that did not. */
  readonly seed: number;
  /** Null when no checker found anything. */
  readonly violation: string | null;
}

/** By the first pattern that fits. */
const CHECKERS: readonly (readonly [RegExp, string])[] = [
  [/^I\d+:/, 'replica-watch'],
  [/^(crash|exception):/, 'assertion in the code'],
  [/no single disk could have|cannot be ordered|a gateway of generation/, 'block-history'],
  [/torn or foreign/, 'cell-pattern'],
  [/has no answer|ended in|bytes$/, 'volume-client'],
  [/^manager:|map version fell|fell from generation/, 'manager-watch'],
  [/ differs: | uses \d+ bytes|is not open/, 'replica-comparison'],
  [/^not within \d+ ms/, 'run (bounds)'],
  [/^X\d+:/, 'cross-scan'],
];

export function checkerOf(violation: string): string {
  return CHECKERS.find(([pattern]) => pattern.test(violation))?.[1] ?? 'run';
}

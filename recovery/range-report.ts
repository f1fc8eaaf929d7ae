/** The verdicts of a rescue as ranges of the volume, neighbours with the same verdict put together. */
import type { Verdict } from './block-choice.ts';

export interface RangeVerdict {
  readonly offset: number;
  readonly length: number;
  readonly verdict: Verdict;
  /** Which disk gave it, or why nothing did. */
  readonly detail: string;
}

export type VerdictBytes = Readonly<Record<Verdict, number>>;

/** A volume that is torn everywhere must not fill the memory; the sums go on. */
const RANGES_MAX = 200_000;

export class RangeReport {
  readonly #ranges: { offset: number; length: number; verdict: Verdict; detail: string }[] = [];
  readonly #bytes: Record<Verdict, number> = { good: 0, older: 0, conflicting: 0, lost: 0 };
  #isCut = false;

  /** Ranges come in order of their offset. */
  add(range: RangeVerdict): void {
    if (range.length === 0) return;
    this.#bytes[range.verdict] += range.length;
    const last = this.#ranges.at(-1);
    if (
      last !== undefined &&
      last.offset + last.length === range.offset &&
      last.verdict === range.verdict &&
      last.detail === range.detail
    ) {
      last.length += range.length;
    } else if (this.#ranges.length < RANGES_MAX) this.#ranges.push({ ...range });
    else this.#isCut = true;
  }

  get ranges(): readonly RangeVerdict[] {
    return this.#ranges;
  }

  get bytes(): VerdictBytes {
    return this.#bytes;
  }

  /** There were more ranges than are kept. */
  get isCut(): boolean {
    return this.#isCut;
  }
}

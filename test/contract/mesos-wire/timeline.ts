/** The order of a recorded scenario, as its `timeline.jsonl` tells it. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export type Entry = {
  readonly ms: number;
  readonly folder?: string;
  readonly send?: string;
  /** The connection was refused: there is no answer to compare. */
  readonly failed?: string;
  readonly event?: string;
  readonly index?: number;
  readonly stream_end?: string;
  readonly note?: string;
};

export function readTimeline(directory: string): Entry[] {
  const lines = readFileSync(join(directory, 'timeline.jsonl'), 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Entry);
}

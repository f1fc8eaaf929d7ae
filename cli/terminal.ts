/**
 * Standard output and standard error, and what they can do. Results go to stdout, explanations and
 * progress to stderr, so that `$(cistern …)` and pipes get results only.
 */
import { createInterface } from 'node:readline/promises';
import picocolors from 'picocolors';
import type { Environment } from './api-address.ts';

export type Colors = ReturnType<typeof picocolors.createColors>;

/** Height when the output is no terminal, or one that does not say: pipes and files. */
const PLAIN_ROWS = 40;

export class Terminal {
  readonly colors: Colors;
  /** For stderr, which may be a terminal when stdout is a pipe. */
  readonly errorColors: Colors;
  readonly rows: number;
  /** Progress bars are drawn on stderr. */
  readonly hasBars: boolean;
  readonly canAsk: boolean;

  constructor(environment: Environment) {
    const { stdin, stdout, stderr } = process;
    const isColorful = !environment['NO_COLOR'] && environment['TERM'] !== 'dumb';
    this.colors = picocolors.createColors(stdout.isTTY === true && isColorful);
    this.errorColors = picocolors.createColors(stderr.isTTY === true && isColorful);
    this.rows = (stdout.isTTY === true ? stdout.rows : 0) || PLAIN_ROWS;
    this.hasBars = stderr.isTTY === true && environment['TERM'] !== 'dumb';
    this.canAsk = stdin.isTTY === true && stderr.isTTY === true;
    // `cistern events | head`: the reader has enough, that is no failure.
    stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0);
      throw error;
    });
  }

  print(text: string): void {
    process.stdout.write(`${text}\n`);
  }

  explain(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  /** Whether the person typed `expected`; true without asking when there is no person. */
  async confirm(question: string, expected: string): Promise<boolean> {
    if (!this.canAsk) return true;
    const dialog = createInterface({ input: process.stdin, output: process.stderr });
    try {
      return (await dialog.question(question)).trim() === expected;
    } finally {
      dialog.close();
    }
  }
}

/**
 * `npm run failover`: a cluster of four nodes with two writers on it, each failure several times. Progress goes to
 * stderr, the table to stdout. The exit code is 1 when a promise was not kept or a write was lost.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import Table from 'cli-table3';
import { isIsolated, runIsolated } from '../../test/chaos/isolation.ts';
import { spreadOf } from '../spread.ts';
import { CASES, type FailureCase } from './cases.ts';
import { FailoverSite, type Pauses } from './measurement.ts';
import { type FailoverSettings, readSettings, USAGE } from './settings.ts';

interface CaseResult {
  readonly name: string;
  readonly targetMs: number | null;
  readonly runs: readonly Pauses[];
}

const settings = readSettings(process.argv.slice(2));
if (settings.isHelp) process.stdout.write(USAGE);
else process.exit((await runIsolated()) ?? (await main(settings)));

async function main(given: FailoverSettings): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'cistern-failover-'));
  const site = await FailoverSite.open(directory, isIsolated(), report);
  const results: CaseResult[] = [];
  try {
    const cases = CASES.filter((one) => one.name.includes(given.only));
    for (const failure of cases.filter((one) => !one.isLink || isIsolated())) {
      results.push(await measureCase(site, failure, given));
    }
  } finally {
    await site.close();
    rmSync(directory, { recursive: true, force: true });
  }
  process.stdout.write(`${formatResults(results)}\n`);
  if (given.json !== null) {
    const document = {
      at: new Date().toISOString(),
      node: process.version,
      processors: cpus().length,
      processor: cpus()[0]?.model ?? null,
      awaySeconds: given.awaySeconds,
      results,
    };
    writeFileSync(given.json, `${JSON.stringify(document, null, 2)}\n`);
  }
  return results.every(isKept) ? 0 : 1;
}

async function measureCase(
  site: FailoverSite,
  failure: FailureCase,
  given: FailoverSettings,
): Promise<CaseResult> {
  const runs: Pauses[] = [];
  for (let repeat = 0; repeat < Math.min(given.repeats, failure.repeatsMax); repeat += 1) {
    report(`${failure.name} (${repeat + 1})`);
    const pauses = await site.measure(failure, given.awaySeconds);
    report(`  longest silence ${pauses.pauseMs.map(formatMs).join(' and ')}`);
    runs.push(pauses);
  }
  return { name: failure.name, targetMs: failure.targetMs, runs };
}

function isKept({ targetMs, runs }: CaseResult): boolean {
  return targetMs === null || runs.every((run) => run.pauseMs.every((pause) => pause < targetMs));
}

function formatResults(results: readonly CaseResult[]): string {
  const table = new Table({
    head: [
      'failure',
      'runs',
      'depth 1: median',
      'max',
      'depth 16: median',
      'max',
      'promise',
      'kept',
    ],
    style: { head: [], border: [] },
  });
  for (const result of results) {
    const cells = [0, 1].flatMap((index) => {
      const { median, max } = spreadOf(result.runs.map((run) => run.pauseMs[index] ?? 0));
      return [formatMs(median), formatMs(max)];
    });
    const promise = result.targetMs === null ? '–' : `< ${formatMs(result.targetMs)}`;
    table.push([result.name, result.runs.length, ...cells, promise, isKept(result) ? 'yes' : 'NO']);
  }
  return table.toString();
}

function formatMs(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function report(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}

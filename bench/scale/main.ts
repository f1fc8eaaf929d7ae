/**
 * `npm run scale`: the scheduler with a thousand agents. Progress goes to stderr, the table to stdout. The exit
 * code is 1 when a target was missed.
 */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import Table from 'cli-table3';
import * as phases from './phases.ts';
import { ScaleCluster } from './scale-cluster.ts';
import { readSettings, type ScaleSettings, USAGE } from './settings.ts';

const settings = readSettings(process.argv.slice(2));
if (settings.isHelp) process.stdout.write(USAGE);
else process.exit(await main(settings));

async function main({ sizes, json }: ScaleSettings): Promise<number> {
  const cluster = new ScaleCluster(sizes);
  const rows: phases.Row[] = [];
  const take = (some: readonly phases.Row[]): void => {
    rows.push(...some);
    for (const { what, value, unit } of some) {
      process.stderr.write(`${what}: ${format(value)} ${unit}\n`);
    }
  };
  take(phases.memory('empty'));
  take(await phases.comeUp(cluster));
  take(await phases.stayQuiet(cluster, 'quiet'));
  take(await phases.planAll(cluster));
  take(phases.memory('whole cluster'));
  take(await phases.addNode(cluster));
  take(await phases.drainNode(cluster));
  take(await phases.loseRack(cluster));
  take(await phases.failMasterOver(cluster));
  take(await phases.failOver(cluster));
  take(await phases.stayQuiet(cluster, 'after failover'));
  take(phases.memory('after failover'));
  take(phases.addZone(cluster));
  process.stdout.write(`${table(rows)}\n`);
  if (json !== null) {
    const document = {
      at: new Date().toISOString(),
      node: process.version,
      processor: cpus()[0]?.model ?? null,
      sizes,
      rows,
    };
    writeFileSync(json, `${JSON.stringify(document, null, 2)}\n`);
  }
  return rows.every(isMet) ? 0 : 1;
}

function isMet({ value, target }: phases.Row): boolean {
  return target === null || value <= target;
}

function table(rows: readonly phases.Row[]): string {
  const made = new Table({
    head: ['what', 'value', 'unit', 'target', 'met'],
    style: { head: [], border: [] },
  });
  for (const one of rows) {
    const { what, value, unit, target } = one;
    const verdict = target === null ? '' : isMet(one) ? 'yes' : 'NO';
    made.push([what, format(value), unit, target === null ? '–' : `≤ ${target}`, verdict]);
  }
  return made.toString();
}

function format(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(value < 10 ? 2 : 1);
}

/** Whole clusters on simulated time: fixed seeds, seeds that once failed, and repeatability. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { KNOWN_SEEDS } from './known-seeds.ts';
import { runSeed, type Verdict } from './run.ts';
import { describeOptions, drawOptions, type SwarmOverrides } from './swarm.ts';

/** In two processes: about two minutes on two processors. */
const SEED_COUNT = 200;
const JOBS = 2;
/** Fixed, so that a change that has nothing to do with it does not fail; `npm run simulate` looks at others. */
const FIRST_SEED = 241_875_174;
/** All seeds together; a busy machine may take many times as long as an idle one. */
const SEEDS_MS_MAX = 900_000;
/** Seconds on an idle machine; a busy one may take many times as long. */
const SEED_MS_MAX = 120_000;
const LINES_SHOWN = 40;

async function expectGood(seed: number, overrides: SwarmOverrides): Promise<Verdict> {
  const options = drawOptions(seed, overrides);
  const verdict = await runSeed(options);
  const report = [
    ...verdict.violations,
    describeOptions(options),
    ...verdict.lastLines.slice(-LINES_SHOWN),
    `again: npm run simulate -- --seed ${seed}${overrides.isShort === true ? ' --short' : ''}`,
  ];
  expect(verdict.violations.length, report.join('\n')).to.equal(0);
  return verdict;
}

describe('simulation', function () {
  this.timeout(SEED_MS_MAX);

  it(`simulation: ${SEED_COUNT} seeds, faults and healing, clients saw one disk`, async function () {
    this.timeout(SEEDS_MS_MAX);
    const { code, output } = await simulate([
      '--short',
      `--jobs=${JOBS}`,
      `--seeds=${SEED_COUNT}`,
      `--from=${FIRST_SEED}`,
    ]);
    expect(code, failuresOf(output)).to.equal(0);
    expect(output).to.include(`${SEED_COUNT} seeds, 0 failed`);
  });

  for (const { seed, overrides, name } of KNOWN_SEEDS) {
    it(`simulation: seed ${seed}, ${name}`, async () => {
      await expectGood(seed, overrides);
    });
  }

  it('simulation: one seed run twice, equal digests', async () => {
    const options = drawOptions(1, { isShort: true });
    const first = await runSeed(options);
    const second = await runSeed(options);
    expect(second.digest).to.equal(first.digest);
    expect(second.eventCount).to.equal(first.eventCount);
    const other = await runSeed(drawOptions(2, { isShort: true }));
    expect(other.digest).to.not.equal(first.digest);
  });
});

function simulate(args: readonly string[]): Promise<{ code: number | null; output: string }> {
  const main = join(fileURLToPath(import.meta.url), '..', 'main.js');
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (data: Buffer) => {
    output += data.toString();
  });
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code, output }));
  });
}

/** Everything but the seeds that passed. */
function failuresOf(output: string): string {
  return output
    .split('\n')
    .filter((line) => !line.startsWith('ok '))
    .join('\n');
}

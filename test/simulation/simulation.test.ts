/** Whole clusters on simulated time: fixed new seeds, seeds that once failed, and repeatability. */
import { expect } from 'chai';
import { KNOWN_SEEDS } from './known-seeds.ts';
import { runSeed, type Verdict } from './run.ts';
import { describeOptions, drawOptions, type SwarmOverrides } from './swarm.ts';

const SEED_COUNT = 50;
const FIRST_SEED = 1_000;
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

  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEED_COUNT; seed += 1) {
    it(`simulation: seed ${seed}, faults and healing, clients saw one disk`, async () => {
      const verdict = await expectGood(seed, { isShort: true });
      expect(verdict.doneCount).to.be.above(0);
    });
  }

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

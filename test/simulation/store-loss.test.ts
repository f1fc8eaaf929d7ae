/** The metadata store is lost in a working cluster and recovered: clients see one disk all along. */
import { expect } from 'chai';
import { runSeed } from './run.ts';
import { loseStore, type Remembered } from './store-loss.ts';
import { describeOptions, drawOptions, type FaultKind } from './swarm.ts';

/** Membership changes and attachments move all the time; nobody stays away. */
const FAULTS: readonly FaultKind[] = [
  'connection-loss',
  'message-delay',
  'data-process-crash',
  'executor-crash',
  'scheduler-restart',
  'disk-slow',
];
const SEED_MS_MAX = 120_000;
/** CISTERN_TEST_SEEDS=1,2,3 tries others. */
const SEEDS = (process.env['CISTERN_TEST_SEEDS'] ?? '1,2,3,4').split(',').map(Number);

describe('simulation: the metadata store is lost', function () {
  this.timeout(SEED_MS_MAX);

  for (const seed of SEEDS) {
    const remembered: Remembered = seed % 2 === 0 ? 'on disk' : 'in memory';
    it(`store lost: seed ${seed}, recovered from maps ${remembered}, whole and right again`, async () => {
      const options = drawOptions(seed, { faults: FAULTS, isShort: true });
      let refusal: string | null = 'nothing was tried';
      const verdict = await runSeed(options, {
        beforeHealing: async (cluster) => {
          refusal = await loseStore(cluster, remembered);
        },
      });
      const report = [
        ...verdict.violations,
        describeOptions(options),
        ...verdict.lastLines.slice(-40),
      ];
      expect(verdict.violations.length, report.join('\n')).to.equal(0);
      // Maps in memory are those of this moment. Those on the disks may be too old: then it says so.
      if (remembered === 'in memory') expect(refusal).to.equal(null);
      else expect(refusal ?? 'Members of').to.match(/^(Members of|Disks hold data)/);
    });
  }
});

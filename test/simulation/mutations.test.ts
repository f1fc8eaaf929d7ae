/** The checkers are checked: every deliberate defect is found, and the seed that finds it is good without it. */
import { expect } from 'chai';
import { MUTATIONS } from '../mutations/catalogue.ts';
import { complaintOf, runTrials } from '../mutations/runner.ts';

/** A minute on two idle cores. */
const MS_MAX = 900_000;
/** It takes a minute by itself: `npm run mutations` runs it. */
const LEFT_OUT = 'skip-epoch-check';
const CHOSEN = MUTATIONS.filter(({ name }) => name !== LEFT_OUT);

describe('mutations', function () {
  this.timeout(MS_MAX);

  it(`mutations: ${CHOSEN.length} deliberate defects, each is found by a checker`, async () => {
    const complaints: string[] = [];
    await runTrials(CHOSEN, (outcome) => {
      const complaint = complaintOf(outcome);
      if (complaint !== '') complaints.push(complaint);
    });
    expect(complaints).to.deep.equal([]);
  });
});

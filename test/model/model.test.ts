/** The model of epochs, leases and attachments: sound in every state it can reach, and each of its rules needed. */
import { expect } from 'chai';
import { explore } from './explore.ts';
import { type Rules, SOUND } from './protocol.ts';

const STATES_MAX = 1_000_000;
/** Some ten seconds on an idle machine. */
const MS_MAX = 300_000;
/**
 * Not `checksEpoch`: at this size generations and leases do its work, because the gateway of node 0 learns
 * a new map together with the replica there. The simulator's mutation `skip-epoch-check` shows its need.
 */
const NAMES = (Object.keys(SOUND) as (keyof Rules)[]).filter((name) => name !== 'checksEpoch');

describe('model: epochs, leases, attachments', function () {
  this.timeout(MS_MAX);

  it('model: every state reached, clients see one disk', () => {
    const { story, isComplete, stateCount } = explore(SOUND, STATES_MAX);
    expect(story, story.join('\n')).to.deep.equal([]);
    expect(isComplete).to.equal(true);
    expect(stateCount).to.be.above(10_000);
  });

  for (const name of NAMES) {
    it(`model: without ${name}, found`, () => {
      const { story } = explore({ ...SOUND, [name]: false }, STATES_MAX);
      expect(story).not.to.deep.equal([]);
    });
  }
});

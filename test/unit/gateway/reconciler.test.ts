import { expect } from 'chai';
import { differencesOf } from '../../../executor/gateway/extent-differences.ts';
import { PRESENCE } from '../../../shared/wire/data-protocol.ts';
import type { ReplicaMeta } from '../../../shared/wire/resync-bodies.ts';

/** `states`: by block, a presence or a checksum (which means data). */
function meta(states: Readonly<Record<number, 'absent' | 'zero' | number>>): ReplicaMeta {
  const presence = new Uint8Array(256);
  const checksums = Buffer.alloc(4096);
  for (const [key, state] of Object.entries(states)) {
    const block = Number(key);
    const bits = typeof state === 'number' ? PRESENCE.data : PRESENCE[state];
    presence[block >> 2] = (presence[block >> 2] as number) | (bits << ((block & 3) * 2));
    if (typeof state === 'number') checksums.writeUInt32LE(state, block * 4);
  }
  return { pg: 1, epoch: 1, dirty: true, incomplete: false, presence, checksums };
}

describe('reconciler', () => {
  it('equal copies: no difference, whatever the checksums of absent and zero blocks say', () => {
    const one = meta({ 0: 7, 1: 'zero' });
    const two = meta({ 0: 7, 1: 'zero' });
    two.checksums.set([1, 2, 3, 4], 4);
    expect(differencesOf([one, two])).to.deep.equal([]);
    expect(differencesOf([one])).to.deep.equal([]);
    expect(differencesOf([null, null])).to.deep.equal([]);
  });

  it('different blocks: runs of one kind, as the first copy has them', () => {
    const one = meta({ 3: 1, 4: 2, 5: 'zero', 9: 5 });
    const two = meta({ 3: 9, 4: 9, 5: 9, 9: 5, 1023: 8 });
    expect(differencesOf([one, two])).to.deep.equal([
      { block: 3, count: 2, presence: PRESENCE.data },
      { block: 5, count: 1, presence: PRESENCE.zero },
      { block: 1023, count: 1, presence: PRESENCE.absent },
    ]);
  });

  it('three copies: one different one is enough', () => {
    const same = meta({ 0: 1 });
    expect(differencesOf([same, same, meta({ 0: 2 })])).to.have.length(1);
    expect(differencesOf([same, same, null])).to.have.length(1);
  });

  it('a long run: cut into what one frame carries', () => {
    const states = Object.fromEntries(Array.from({ length: 40 }, (_, block) => [block, block + 1]));
    const counts = differencesOf([meta(states), null]).map((run) => run.count);
    expect(counts).to.deep.equal([16, 16, 8]);
  });
});

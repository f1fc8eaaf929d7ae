import { expect } from 'chai';
import { TokenBucket } from '../../../executor/replica/token-bucket.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';

describe('token bucket', () => {
  it('many takers: in order, at the rate of the limit', async () => {
    const clock = new VirtualClock();
    const bucket = new TokenBucket(clock, 1000);
    const done: number[] = [];
    for (let index = 0; index < 20; index += 1) bucket.take(100, () => done.push(index));
    await clock.runFor(1000);
    expect(done.length).to.be.within(8, 12);
    await clock.runFor(1500);
    expect(done).to.deep.equal(Array.from({ length: 20 }, (_, index) => index));
  });

  it('an item larger than the burst: passes, and those behind it wait for it', async () => {
    const clock = new VirtualClock();
    const bucket = new TokenBucket(clock, 1000);
    const at: number[] = [];
    await clock.runFor(1000);
    bucket.take(5000, () => at.push(clock.now()));
    bucket.take(1, () => at.push(clock.now()));
    await clock.runFor(10_000);
    expect(at[0]).to.be.below(1100);
    expect(at[1]).to.be.within(5500, 6500);
  });

  it('limit 0: nothing moves until there is another limit', async () => {
    const clock = new VirtualClock();
    const bucket = new TokenBucket(clock, 0);
    let count = 0;
    bucket.take(1, () => {
      count += 1;
    });
    await clock.runFor(60_000);
    expect(count).to.equal(0);
    bucket.setLimit(1000);
    await clock.runFor(10);
    expect(count).to.equal(1);
  });
});

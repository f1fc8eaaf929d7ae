import { expect } from 'chai';
import { Background } from '../../../executor/replica/background.ts';
import type { DiskId } from '../../../shared/base/ids.ts';
import { MiB } from '../../../shared/base/units.ts';
import type { BackgroundClass } from '../../../shared/model/node-report.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';

const D1 = 1 as DiskId;
const D2 = 2 as DiskId;
const LIMIT = 40 * MiB;
const STEP = 256 * 1024;

class Bench {
  readonly clock = new VirtualClock();
  requests = 0;
  operations = 0;
  micros = 0;
  readonly background = new Background(
    {
      clock: this.clock,
      requests: () => this.requests,
      latency: () => ({ operations: this.operations, micros: this.micros }),
    },
    LIMIT,
  );
  readonly moved = new Map<string, number>();

  /** Moves as much as it may, for ever. */
  work(disk: DiskId, kind: BackgroundClass): void {
    const key = `${kind} d${disk}`;
    const next = async (): Promise<void> => {
      for (;;) {
        await this.background.allow(disk, kind, STEP);
        this.moved.set(key, (this.moved.get(key) ?? 0) + STEP);
      }
    };
    void next();
  }

  /** Bytes per second of each worker, over so long. */
  async rates(ms: number): Promise<Record<string, number>> {
    const before = new Map(this.moved);
    await this.clock.runFor(ms);
    const rate = (key: string): number =>
      ((this.moved.get(key) ?? 0) - (before.get(key) ?? 0)) / (ms / 1000);
    return Object.fromEntries([...this.moved.keys()].map((key) => [key, rate(key)]));
  }
}

describe('background work', () => {
  it('background: one class alone, its share of each disk', async () => {
    const bench = new Bench();
    bench.work(D1, 'rebuild');
    bench.work(D2, 'scrub');
    await bench.rates(2_000);
    const rates = await bench.rates(10_000);
    expect(rates['rebuild d1']).to.be.closeTo(LIMIT, LIMIT * 0.05);
    expect(rates['scrub d2']).to.be.closeTo(LIMIT / 4, LIMIT * 0.02);
  });

  it('background: all at once, the most urgent goes on, the others keep a tenth of theirs', async () => {
    const bench = new Bench();
    for (const kind of ['rebuild', 'rebalance', 'scrub'] as const) bench.work(D1, kind);
    bench.work(D2, 'scrub');
    await bench.rates(2_000);
    const rates = await bench.rates(20_000);
    expect(rates['rebuild d1']).to.be.closeTo(LIMIT, LIMIT * 0.05);
    expect(rates['rebalance d1']).to.be.closeTo(LIMIT / 10, LIMIT * 0.02);
    expect(rates['scrub d1']).to.be.closeTo(LIMIT / 40, LIMIT * 0.01);
    expect(rates['scrub d2'], 'another disk').to.be.closeTo(LIMIT / 4, LIMIT * 0.02);
  });

  it('background: clients are held up, pushed back to the floor and no further; then it recovers', async () => {
    const bench = new Bench();
    bench.work(D1, 'rebuild');
    await bench.rates(1_000);
    let isSlow = true;
    const serve = (): void => {
      bench.requests += 1;
      bench.operations += 1;
      bench.micros += isSlow ? 200_000 : 500;
      bench.clock.after(20, serve);
    };
    serve();
    await bench.rates(3_000);
    expect(bench.background.pressure).to.equal(0.1);
    const slow = await bench.rates(10_000);
    expect(slow['rebuild d1']).to.be.closeTo(LIMIT / 10, LIMIT * 0.02);
    isSlow = false;
    await bench.rates(5_000);
    expect(bench.background.pressure).to.equal(1);
    const fast = await bench.rates(10_000);
    expect(fast['rebuild d1']).to.be.greaterThan(LIMIT * 0.9);
  });

  it('background: limit 0, everything but giving space back stands still; bytes are counted', async () => {
    const bench = new Bench();
    bench.background.setLimit(0);
    bench.work(D1, 'scrub');
    bench.work(D1, 'delete');
    const rates = await bench.rates(10_000);
    expect(bench.moved.has('scrub d1')).to.equal(false);
    expect(rates['delete d1']).to.be.greaterThan(0);
    bench.background.setLimit(LIMIT);
    await bench.rates(5_000);
    expect(bench.moved.get('scrub d1')).to.be.greaterThan(0);
    const usage = new Map(bench.background.usage().map(({ kind, bytes }) => [kind, bytes]));
    expect(usage.get('scrub')).to.be.at.least(bench.moved.get('scrub d1') ?? 0);
    expect(usage.get('rebuild')).to.equal(0);
  });
});

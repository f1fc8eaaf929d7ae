/** Days to full: a robust slope, few samples, and an expansion that begins within the lead time. */
import { expect } from 'chai';
import {
  forecastOf,
  missingByForecast,
  slopeOf,
  takeSample,
} from '../../../scheduler/core/capacity/forecast.ts';
import type { PoolRecord, UsageSample } from '../../../scheduler/core/records.ts';
import { GiB } from '../../../shared/base/units.ts';
import { SimulatedCluster } from '../../scenarios/manager/simulated-cluster.ts';
import { Scenario } from '../offers/scenario.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Hourly samples of what `used` says of each hour. */
function samples(hours: number, used: (hour: number) => number): UsageSample[] {
  return Array.from({ length: hours }, (_, hour) => [hour * HOUR_MS, used(hour)] as const);
}

function poolWith(scenario: Scenario, usage: readonly UsageSample[]): PoolRecord {
  scenario.state.work.forecasts.clear();
  return scenario.state.facts.pools.update('default', { usage });
}

const FILL = { usedBytes: 500 * GiB, limitBytes: 950 * GiB };

describe('forecast: days to full', () => {
  it('forecast: steady growth, the time that is left and what it is made of', () => {
    const scenario = new Scenario([]);
    const pool = poolWith(
      scenario,
      samples(48, (hour) => hour * GiB),
    );
    const forecast = forecastOf(scenario.state, pool, FILL);
    expect((forecast?.bytesPerDay ?? 0) / GiB).to.be.closeTo(24, 0.01);
    expect((forecast?.fullInMs ?? 0) / DAY_MS).to.be.closeTo(450 / 24, 0.01);
    expect(forecast).to.include({ sampleCount: 48, isOfLastDay: false });
  });

  it('forecast: a big import and a deleted volume, the slope is that of all other hours', () => {
    const jumps = (hour: number): number => {
      const jump = hour >= 100 && hour < 103 ? 4_000 * GiB : 0;
      return hour * GiB + jump;
    };
    expect((slopeOf(samples(200, jumps)) * HOUR_MS) / GiB).to.be.closeTo(1, 0.05);
  });

  it('forecast: growth became faster, the last day counts; slower, the whole does', () => {
    const scenario = new Scenario([]);
    const faster = poolWith(
      scenario,
      samples(240, (hour) => hour * GiB + Math.max(0, hour - 216) * 9 * GiB),
    );
    const soon = forecastOf(scenario.state, faster, FILL);
    expect(soon?.isOfLastDay).to.equal(true);
    expect((soon?.bytesPerDay ?? 0) / GiB).to.be.closeTo(240, 1);
    const slower = poolWith(
      scenario,
      samples(240, (hour) => Math.min(hour, 216) * GiB),
    );
    const later = forecastOf(scenario.state, slower, FILL);
    expect((later?.bytesPerDay ?? 0) / GiB).to.be.closeTo(24, 1);
  });

  it('forecast: few samples are no trend, a shrinking pool is never full', () => {
    const scenario = new Scenario([]);
    expect(
      forecastOf(
        scenario.state,
        poolWith(
          scenario,
          samples(3, (hour) => hour),
        ),
        FILL,
      ),
    ).to.equal(null);
    const shrinking = poolWith(
      scenario,
      samples(10, (hour) => -hour * GiB),
    );
    expect(forecastOf(scenario.state, shrinking, FILL)?.fullInMs).to.equal(null);
  });

  it('forecast: samples are hourly and bounded, also when the clock is set back', () => {
    const scenario = new Scenario([]);
    const take = (wallMs: number): void =>
      takeSample(scenario.state, scenario.state.facts.pools.get('default'), 1, { ms: 0, wallMs });
    for (let minute = 0; minute < 60 * 24 * 20; minute += 10) take(1e12 + minute * 60_000);
    const { usage = [] } = scenario.state.facts.pools.get('default');
    expect(usage).to.have.length(336);
    expect((usage[1]?.[0] ?? 0) - (usage[0]?.[0] ?? 0)).to.equal(HOUR_MS);
    take(1e12 + 18 * DAY_MS);
    const after = scenario.state.facts.pools.get('default').usage ?? [];
    expect(after.at(-1)?.[0]).to.equal(1e12 + 18 * DAY_MS);
    expect(
      after.every(([atMs], index) => index === 0 || atMs > (after[index - 1]?.[0] ?? 0)),
    ).to.equal(true);
  });

  it('forecast: sooner than the lead time is a reason, an almost empty pool or none configured is not', () => {
    const scenario = new Scenario([], { expandLeadMs: DAY_MS });
    const pool = poolWith(
      scenario,
      samples(48, (hour) => hour * 20 * GiB),
    );
    const missing = missingByForecast(scenario.state, pool, {
      usedBytes: 600 * GiB,
      rawBytes: 1000 * GiB,
    });
    expect(missing?.fact).to.match(
      /will be full in 17h .*480.* a day.*48 hourly samples.*lead time is 24h/,
    );
    expect((missing?.bytes ?? 0) / GiB).to.be.closeTo((600 + 480) / 0.95 - 1000, 1);
    const early = missingByForecast(scenario.state, pool, {
      usedBytes: 300 * GiB,
      rawBytes: 1000 * GiB,
    });
    expect(early).to.equal(null);
    const without = new Scenario([]);
    const same = poolWith(
      without,
      samples(48, (hour) => hour * 20 * GiB),
    );
    expect(
      missingByForecast(without.state, same, { usedBytes: 600 * GiB, rawBytes: 1000 * GiB }),
    ).to.equal(null);
  });

  it('forecast: a pool below its threshold that will be full within the lead time expands', () => {
    const cluster = new SimulatedCluster({ expandLeadMs: DAY_MS });
    for (let node = 0; node < 3; node += 1) cluster.addNode();
    cluster.runUntil('all disks to serve', () =>
      [...cluster.state.facts.disks.values()].every((disk) => disk.phase === 'serving'),
    );
    cluster.write(cluster.createVolume('v', 2), 75 * GiB);
    cluster.run(3_000);
    expect(cluster.state.expansion.size).to.equal(0);
    const usage = samples(10, (hour) => hour * 30 * GiB).map(
      ([atMs, bytes]) => [cluster.nowMs - 10 * HOUR_MS + atMs, bytes] as const,
    );
    cluster.state.facts.pools.update('default', { usage });
    cluster.state.work.forecasts.clear();
    cluster.run(3_000);
    expect(cluster.state.expansion.get('default')?.reason).to.match(/will be full in/);
    expect(cluster.events('pool.expanding')).to.have.length(1);
  });
});

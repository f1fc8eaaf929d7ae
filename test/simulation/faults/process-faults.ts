/** Faults of processes and machines: crashes, stops, power, the scheduler, its store, clocks. */
import type { Prng } from '../../../shared/base/prng.ts';
import type { SimulatedNode } from '../simulated-node.ts';
import { type Fault, type FaultSite, pickNode, pickSafe, takeAway } from './fault-site.ts';

/** Longer than a lease and the manager's patience together. */
const POWER_LOSS_MS_MIN = 14_000;
const POWER_LOSS_MS_MAX = 54_000;
const QUICK_LOSS_MS_MIN = 300;
const QUICK_LOSS_MS_MAX = 6_000;

export const crashDataProcess: Fault = (site) => {
  const node = pickSafe(site, poweredOf(site), (one) => site.atlas.mayCrash(one));
  if (node === null) return null;
  node.crashDataProcess();
  return node.host;
};

export const crashExecutor: Fault = (site) => {
  const node = pickSafe(site, poweredOf(site), (one) => site.atlas.mayCrash(one));
  if (node === null) return null;
  node.crashExecutor();
  return node.host;
};

export const losePower: Fault = (site) => {
  const { options, random, atlas } = site;
  const node = pickSafe(site, poweredOf(site), (one) => atlas.mayLosePower(one));
  if (node === null) return null;
  atlas.notePowerLoss(node);
  node.losePower();
  const awayMs = drawLossMs(random, options.quickLossRatio);
  takeAway(site, [node], awayMs, () => node.restorePower());
  return `${node.host} for ${awayMs} ms`;
};

/** Power is lost everywhere at once and comes back machine by machine, with the scheduler's or without. */
export const blackOut: Fault = (site) => {
  const { cluster, options, random, atlas, during } = site;
  if (!atlas.mayBlackOut()) return null;
  cluster.onBlackout();
  for (const node of cluster.nodes) {
    if (!node.isPowered) continue;
    atlas.notePowerLoss(node);
    node.losePower();
    takeAway(site, [node], drawLossMs(random, options.quickLossRatio), () => node.restorePower());
  }
  if (random.chance(0.5)) return 'all nodes';
  cluster.crashScheduler();
  during(random.between(100, 30_000), () => cluster.startScheduler());
  return 'all nodes and the scheduler';
};

function poweredOf({ cluster }: FaultSite): SimulatedNode[] {
  return cluster.nodes.filter((node) => node.isPowered);
}

/** Before the node left the in-sync sets, or after. */
export function drawLossMs(random: Prng, quickRatio: number): number {
  return random.chance(quickRatio)
    ? random.between(QUICK_LOSS_MS_MIN, QUICK_LOSS_MS_MAX)
    : random.between(POWER_LOSS_MS_MIN, POWER_LOSS_MS_MAX);
}

/** The executor's process does nothing for a while; its data process goes on without it. */
export const stopExecutor: Fault = (site) => {
  const node = pickNode(site);
  if (!site.atlas.mayLeave([node])) return null;
  node.stopExecutor();
  takeAway(site, [node], site.random.between(300, 20_000), () => node.goOn());
  return node.host;
};

export const stopDataProcess: Fault = (site) => {
  const node = pickNode(site);
  if (!site.atlas.mayLeave([node])) return null;
  node.stopDataProcess();
  takeAway(site, [node], site.random.between(300, 20_000), () => node.goOn());
  return node.host;
};

export const restartScheduler: Fault = ({ cluster, random, during }) => {
  cluster.crashScheduler();
  const awayMs = random.pick([100, 1_000, 5_000, 15_000]);
  during(awayMs, () => cluster.startScheduler());
  return `away ${awayMs} ms`;
};

/** Minutes without a manager: I/O goes on (DESIGN 5). */
export const loseScheduler: Fault = ({ cluster, random, during }) => {
  cluster.crashScheduler();
  const awayMs = random.between(60_000, 300_000);
  during(awayMs, () => cluster.startScheduler());
  return `away ${awayMs} ms`;
};

export const stallStore: Fault = ({ cluster, random }) => {
  cluster.store.stall(random.between(500, 8_000));
  return 'store';
};

/**
 * The store ends the leader's session, or another leads while the leader lives on, or is stopped with
 * effects under way.
 */
export const loseLeadership: Fault = ({ cluster, random }) => {
  if (cluster.scheduler === null) return null;
  if (random.chance(0.4)) {
    cluster.store.depose();
    return 'its session at the store is over';
  }
  if (random.chance(0.4)) {
    cluster.rivalScheduler();
    return 'another leads, and it lives on beside it';
  }
  const ms = random.pick([20, 500, 5_000, 30_000]);
  cluster.usurpScheduler(ms);
  return `stopped for ${ms} ms while another leads`;
};

/** A clock that runs faster or slower from now on, within what leases allow for. */
export const changePace: Fault = (site) => {
  const node = pickNode(site);
  const rate = 1 + (site.random.fraction() * 2 - 1) * CLOCK_DRIFT_MAX;
  node.clock.setRate(rate);
  return `${node.host} ${rate.toFixed(4)}`;
};

/** Two percent: of a lease of 4 s that is 80 ms, on either side; the margin is 250 ms. */
export const CLOCK_DRIFT_MAX = 0.02;

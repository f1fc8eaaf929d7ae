/** Faults of Mesos: agents out of reach, a lost subscription, words that come late, out of order, or twice. */
import { type Fault, pickNode } from './fault-site.ts';

/** No word passes between the Mesos master and one agent. */
export const cutOffAgent: Fault = (site) => {
  const { cluster, random } = site;
  const { host } = pickNode(site);
  cluster.mesos.setCutOff(host, true);
  site.during(random.between(1_000, 50_000), () => cluster.mesos.setCutOff(host, false));
  return host;
};

/** The subscription of the scheduler breaks. */
export const disconnect: Fault = ({ cluster }) => {
  cluster.mesos.disconnect();
  return 'mesos';
};

/** Updates of tasks, calls and offers take up to many seconds, and updates often come twice. */
export const delayMesos: Fault = ({ cluster, random, during }) => {
  const { mesos } = cluster;
  mesos.delayMsMax = random.pick([500, 3_000, 15_000]);
  mesos.duplicateChance = 0.5;
  during(random.between(2_000, 30_000), () => mesos.calm());
  return `up to ${mesos.delayMsMax} ms`;
};

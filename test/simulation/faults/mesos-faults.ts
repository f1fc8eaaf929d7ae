/** Faults of Mesos: agents out of reach, a lost subscription, words that come late, out of order, or twice. */
import { type Fault, type FaultSite, pickNode, pickSafe, takeAway } from './fault-site.ts';

/** No word passes between the Mesos master and one agent. */
export const cutOffAgent: Fault = (site) => {
  const { cluster, random } = site;
  const { host } = pickNode(site);
  cluster.mesos.setCutOff(host, true);
  site.during(random.between(1_000, 50_000), () => cluster.mesos.setCutOff(host, false));
  return host;
};

/**
 * An agent does not recover: it ends what ran there and comes back under another id, with the volumes that
 * it had. Mostly after the machine has lost its power.
 */
export const renewAgent: Fault = (site) => beginAnew(site, false);

/**
 * An agent's work directory is emptied, and with it goes every reservation and volume: it comes back under
 * another id, and its disks are free. What lies on MOUNT disks is still there; below PATH disks nobody finds
 * the old folders again. Mostly with a reboot. The node is away until it has its data again.
 */
export const wipeAgent: Fault = (site) =>
  site.options.cluster.areDisksShared ? replaceMachine(site) : beginAnew(site, true);

function beginAnew(site: FaultSite, isWiped: boolean): string | null {
  const { cluster, random, atlas } = site;
  const isReboot = random.chance(0.6);
  const powered = cluster.nodes.filter((node) => node.isPowered);
  const node = pickSafe(site, powered, (one) =>
    isReboot ? atlas.mayLosePower(one) : atlas.mayCrash(one),
  );
  if (node === null) return null;
  const { host } = node;
  if (isReboot) {
    atlas.notePowerLoss(node);
    node.losePower();
  } else node.crashExecutor();
  cluster.mesos.setCutOff(host, true);
  const awayMs = random.pick([random.between(300, 6_000), random.between(10_000, 50_000)]);
  takeAway(site, [node], awayMs, () => {
    node.renewAgent(isWiped);
    node.restorePower();
  });
  return `${host}${isReboot ? ' with its machine' : ''} for ${awayMs} ms`;
}

/**
 * A machine is gone with all its disks, and another one comes in its place: an agent under another id that
 * offers free disks. The operator says that the old one never comes back (administrator.ts).
 */
export const replaceMachine: Fault = (site) => {
  const { cluster, options, random, atlas } = site;
  const powered = cluster.nodes.filter((node) => node.isPowered);
  const node = pickSafe(site, powered, (one) => atlas.mayLoseNode(one, options.replicas));
  if (node === null) return null;
  atlas.noteNodeLost(node);
  node.replaceMachine();
  const awayMs = random.between(5_000, 50_000);
  takeAway(site, [node], awayMs, () => node.restorePower());
  return `${node.host} for ${awayMs} ms`;
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

/** Faults of the network: connections that break, ways that are blocked, messages that take long. */

import { SCHEDULER_HOST } from '../mesos/simulated-mesos.ts';
import { type Fault, type FaultSite, pickNode, takeAway } from './fault-site.ts';

/** Resets all connections between two hosts, or a control link. */
export const loseConnection: Fault = (site) => {
  const { cluster } = site;
  const a = pickNode(site);
  const b = pickNode(site);
  if (a === b) cluster.control.cut(a.host);
  else cluster.network.host(a.host).cut(b.host);
  return `${a.host} ${a === b ? SCHEDULER_HOST : b.host}`;
};

/** Nothing passes from one host to another, in one direction. */
export const blockOneWay: Fault = (site) => {
  const { cluster, random, atlas } = site;
  const node = pickNode(site);
  const other = random.pick(hostsOf(site).filter((host) => host !== node.host));
  const [from, to] = random.chance(0.5) ? [node.host, other] : [other, node.host];
  const peer = cluster.node(other);
  const nodes = peer === undefined ? [node] : [node, peer];
  if (!atlas.mayLeave(nodes)) return null;
  cluster.network.block(from, to);
  takeAway(site, nodes, random.between(200, 15_000), () => cluster.network.unblock(from, to));
  return `${from} > ${to}`;
};

/** One host and all others, both ways. */
export const isolate: Fault = (site) => {
  const node = pickNode(site);
  if (!site.atlas.mayLeave([node])) return null;
  return partition(site, [node.host], site.random.between(500, 20_000));
};

/** Two groups of hosts that do not reach each other; the scheduler is in one of them. */
export const partitionGroups: Fault = (site) => {
  const { cluster, random, atlas } = site;
  const shuffled = random.shuffle(cluster.nodes);
  const group = shuffled.slice(0, 1 + random.below(shuffled.length - 1));
  const hosts = group.map(({ host }) => host);
  const withScheduler = random.chance(0.5);
  const cutOff = withScheduler ? cluster.nodes.filter((node) => !group.includes(node)) : group;
  if (!atlas.mayLeave(cutOff)) return null;
  if (withScheduler) hosts.push(SCHEDULER_HOST);
  return partition(site, hosts, random.between(500, 20_000));
};

/** Every message may take up to a second. */
export const delayMessages: Fault = (site) => {
  const { cluster, random } = site;
  const { network, control } = cluster;
  const before = { network: network.options, control: control.delayMsMax };
  if (before.network.delayMsMax >= BURST_MS_MIN) return null;
  const delayMsMax = random.between(BURST_MS_MIN, 1_000);
  network.options = { ...before.network, delayMsMax };
  control.delayMsMax = delayMsMax;
  site.during(random.between(300, 5_000), () => {
    network.options = before.network;
    control.delayMsMax = before.control;
  });
  return `up to ${delayMsMax} ms`;
};

/** More than any drawn network has. */
const BURST_MS_MIN = 100;

/** Ways between random hosts are clogged one by one, and released in another order. */
export const clog: Fault = (site) => {
  const { cluster, random, atlas } = site;
  const nodes = random.shuffle(cluster.nodes).slice(0, random.between(2, 4));
  if (!atlas.mayLeave(nodes)) return null;
  const hosts = nodes.map(({ host }) => host);
  const ways = hosts.flatMap((from) => hosts.map((to) => [from, to] as const));
  const clogged = random.shuffle(ways.filter(([from, to]) => from !== to));
  const { network, clock } = cluster;
  let isOver = false;
  clogged.forEach(([from, to], index) => {
    clock.after(index * CLOG_STEP_MS, () => {
      if (!isOver) network.block(from, to);
    });
  });
  const startMs = clogged.length * CLOG_STEP_MS;
  const ms = startMs + random.between(100, 4_000);
  const released = random.shuffle(clogged);
  takeAway(site, nodes, ms + released.length * CLOG_STEP_MS, () => {
    isOver = true;
    for (const [from, to] of released) network.unblock(from, to);
  });
  released.forEach(([from, to], index) => {
    clock.after(ms + index * CLOG_STEP_MS, () => {
      if (!isOver) network.unblock(from, to);
    });
  });
  return hosts.join();
};

const CLOG_STEP_MS = 40;

function hostsOf({ cluster }: FaultSite): string[] {
  return [...cluster.nodes.map(({ host }) => host), SCHEDULER_HOST];
}

function partition(site: FaultSite, group: readonly string[], ms: number): string {
  const { network, nodes } = site.cluster;
  const others = hostsOf(site).filter((host) => !group.includes(host));
  for (const a of group) for (const b of others) network.partition(a, b);
  // Members of a group can lose touch with members of the other: any of them may be reported.
  takeAway(site, nodes, ms, () => {
    for (const a of group) {
      for (const b of others) {
        network.unblock(a, b);
        network.unblock(b, a);
      }
    }
  });
  return `${group.join()} | ${others.join()}`;
}

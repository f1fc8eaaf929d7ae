/**
 * Faults brought about on purpose, at fixed places: what a mutation needs to show. They use the simulated
 * world as the fault driver does, and stay within the same budget: one machine at a time is hurt.
 * Hosts are numbered from 1; with one gateway node the volume is attached to host 1.
 */
import type { NodeId, VolumeId } from '../../shared/base/ids.ts';
import type { Cluster } from '../simulation/cluster.ts';
import { SCHEDULER_HOST } from '../simulation/mesos/simulated-mesos.ts';

export type Script = (cluster: Cluster) => void;

/** Several at once. */
export function all(...scripts: readonly Script[]): Script {
  return (cluster) => {
    for (const script of scripts) script(cluster);
  };
}

/** Before the faults of a run end and everything has to heal (trial-options.ts). */
const EVERY_MS_MAX = 7_000;

export function every(ms: number, action: Script): Script {
  return (cluster) => {
    const endMs = cluster.clock.now() + EVERY_MS_MAX;
    const again = (): void => {
      if (cluster.clock.now() > endMs) return;
      action(cluster);
      cluster.clock.after(ms, again);
    };
    cluster.clock.after(ms, again);
  };
}

export function at(ms: number, action: Script): Script {
  return (cluster) => {
    cluster.clock.after(ms, () => action(cluster));
  };
}

/** Nothing passes between `host` and all others, the manager included, until everything heals. */
export function isolate(host: number): Script {
  return (cluster) => {
    for (const other of othersOf(cluster, host)) cluster.network.partition(nameOf(host), other);
  };
}

export function rejoin(host: number): Script {
  return (cluster) => {
    const name = nameOf(host);
    for (const other of othersOf(cluster, host)) {
      cluster.network.unblock(name, other);
      cluster.network.unblock(other, name);
    }
  };
}

/** The manager's answers to `host` come late, and nothing else reaches it or leaves it after that. */
export function holdLeases(host: number, ms: number): Script {
  const name = nameOf(host);
  return (cluster) => {
    cluster.network.block(SCHEDULER_HOST, name);
    cluster.clock.after(HELD_REPORT_MS, () => {
      isolate(host)(cluster);
    });
    cluster.clock.after(ms, () => cluster.network.unblock(SCHEDULER_HOST, name));
  };
}

/** Longer than the interval of reports: one more leaves, and its lease is under way. */
const HELD_REPORT_MS = 1_200;

/** Host and manager do not hear each other; everybody else hears both. */
export function cutFromManager(host: number): Script {
  return (cluster) => cluster.network.partition(nameOf(host), SCHEDULER_HOST);
}

/** Control messages take up to so long: nodes learn of a new map at very different times. */
export function slowControl(ms: number): Script {
  return (cluster) => {
    cluster.control.delayMsMax = ms;
    // Links keep the delay that they were made with.
    for (const node of cluster.nodes) cluster.control.cut(node.host);
  };
}

export function stallDisk(host: number): Script {
  return (cluster) => {
    for (const disk of diskOf(cluster, host)) disk.stall();
  };
}

export function resumeDisk(host: number): Script {
  return (cluster) => {
    for (const disk of diskOf(cluster, host)) disk.resume();
  };
}

/** The operator's word that the gateway is dead, which it is not. */
export function forceAttach(volume: number): Script {
  return (cluster) => {
    const nodes = [...(cluster.state?.facts.nodes.values() ?? [])];
    const record = cluster.state?.facts.volumes.find(volume as VolumeId);
    const held = nodes.findIndex(({ id }) => id === record?.attachedTo);
    const node = nodes[(held + 1) % nodes.length]?.id ?? (1 as NodeId);
    void cluster.execute({
      kind: 'attach-volume',
      volume: volume as VolumeId,
      node,
      isForced: true,
    });
  };
}

export function crashDataProcess(host: number): Script {
  return (cluster) => cluster.node(nameOf(host))?.crashDataProcess();
}

/** One bit of every block of data on the disk turns. */
export function rot(host: number): Script {
  return (cluster) => {
    for (const disk of diskOf(cluster, host)) {
      for (const name of disk.list().filter((file) => file.startsWith('slabs/'))) {
        const bytes = disk.bytesOf(name);
        for (let page = 0; page < bytes.length; page += PAGE_BYTES) {
          if (bytes.subarray(page, page + PAGE_BYTES).some((byte) => byte !== 0)) {
            disk.flipBit(name, page, 0);
          }
        }
      }
    }
  };
}

const PAGE_BYTES = 4096;

function nameOf(host: number): string {
  return `host${host}`;
}

function diskOf(cluster: Cluster, host: number) {
  return cluster.node(nameOf(host))?.disks.values() ?? [];
}

function othersOf(cluster: Cluster, host: number): readonly string[] {
  const hosts = [...cluster.nodes.map((node) => node.host), SCHEDULER_HOST];
  return hosts.filter((other) => other !== nameOf(host));
}

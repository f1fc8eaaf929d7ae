/**
 * The manager of the machines, as far as a blackout needs one: it owns the map, which outlives every power
 * loss, and decides as scheduler/core/members/suspects.ts does when all members of a PG lost their memory. One volume,
 * two replicas of everything.
 */
import { expect } from 'chai';
import { diskId, nodeId, pgId, volumeId } from '../../../../shared/base/ids.ts';
import type { Prng } from '../../../../shared/base/prng.ts';
import type { ClusterMap, MapPg } from '../../../../shared/model/cluster-map.ts';
import type { DiskReport, NodeReport } from '../../../../shared/model/node-report.ts';
import type { Machines } from './machines.ts';
import { CLUSTER_ID, MACHINES } from './messages.ts';

export const VOLUME = 'files';
const PG_COUNT = 8;
const PATIENCE_MS = 60_000;
const POLL_MS = 10;

export function firstMap(sizeBytes: number): ClusterMap {
  const numbers = Array.from({ length: MACHINES }, (_, index) => index + 1);
  const pgs = Array.from({ length: PG_COUNT }, (_, index): MapPg => {
    const members = [diskId((index % MACHINES) + 1), diskId(((index + 1) % MACHINES) + 1)];
    const { id, epoch, minInSync } = { id: pgId(index + 1), epoch: 1, minInSync: 1 };
    return { id, epoch, inSync: members, joining: [], minInSync, target: members };
  });
  return {
    clusterId: CLUSTER_ID,
    term: 1,
    version: 1,
    nodes: numbers.map((number) => ({
      id: nodeId(number),
      hostname: `machine${number}`,
      zone: null,
      dataAddress: null,
      grantAddress: null,
      isFenced: false,
    })),
    disks: numbers.map((number) => ({
      id: diskId(number),
      node: nodeId(number),
      uuid: `u${number}`,
    })),
    pgs,
    volumes: [
      {
        id: volumeId(1),
        name: VOLUME,
        sizeBytes,
        pgBase: 1,
        pgCount: PG_COUNT,
        pgOffset: 0,
        pgStride: 1,
        layer: 0,
        generation: 0,
        attachedTo: null,
        isFull: false,
        durability: 'flush',
      },
    ],
    nextVolume: 2,
  };
}

export class BlackoutManager {
  map: ClusterMap;
  readonly #prng: Prng;

  constructor(map: ClusterMap, prng: Prng) {
    this.map = map;
    this.#prng = prng;
  }

  /** Until the volume is being served; false when power was lost before. */
  async bringUp(machines: Machines): Promise<boolean> {
    const addresses = await machines.start();
    if (addresses === null) return false;
    const nodes = this.map.nodes.map((node, index) => ({
      ...node,
      dataAddress: addresses[index] ?? null,
    }));
    if (!(await this.#change(machines, { nodes }))) return false;
    const reports = await waitForReports(machines, 'disks to be open', (all) =>
      all.every(({ disks }) => disks[0]?.status === 'serving'),
    );
    if (reports === null) return false;
    for (const { disks } of this.#prng.shuffle(reports)) {
      if (!(await this.#change(machines, this.#takeIn(disks[0] as DiskReport)))) return false;
    }
    return this.#attach(machines);
  }

  async #attach(machines: Machines): Promise<boolean> {
    const attachedTo = nodeId(1 + this.#prng.below(MACHINES));
    const volumes = this.map.volumes.map((volume) => ({
      ...volume,
      generation: volume.generation + 1,
      attachedTo,
    }));
    if (!(await this.#change(machines, { volumes }))) return false;
    const generation = volumes[0]?.generation;
    const serving = await waitForReports(machines, 'the volume to be served', (all) =>
      all.some(({ attachments }) =>
        attachments.some((found) => {
          return (
            found.generation === generation && found.status === 'serving' && found.socketPath !== ''
          );
        }),
      ),
    );
    return serving !== null;
  }

  /** What a report of an open store changes: suspect where it is in sync; trusted when nobody else remembers. */
  #takeIn(report: DiskReport): Partial<ClusterMap> {
    const incarnation = report.incarnation ?? 0;
    expect(incarnation, `incarnation of disk ${report.id}`).to.be.above(0);
    const known = this.map.disks.find(({ id }) => id === report.id)?.incarnation;
    expect(incarnation, `disk ${report.id} knows that it lost power`).not.to.equal(known);
    const disks = this.map.disks.map((disk) =>
      disk.id === report.id ? { ...disk, incarnation } : disk,
    );
    if (known === undefined) return { disks };
    const pgs = this.map.pgs.map((pg): MapPg => {
      if (!pg.inSync.includes(report.id)) return pg;
      const suspects = [...(pg.suspects ?? []).filter((id) => id !== report.id), report.id];
      const epoch = pg.epoch + 1;
      if (suspects.length < pg.inSync.length) return { ...pg, epoch, suspects };
      return { ...pg, epoch, suspects: [], compareEpoch: epoch };
    });
    return { disks, pgs };
  }

  #change(machines: Machines, change: Partial<ClusterMap>): Promise<boolean> {
    this.map = { ...this.map, ...change, version: this.map.version + 1 };
    return machines.sendMap(this.map);
  }
}

/** Null when power was lost before. */
async function waitForReports(
  machines: Machines,
  what: string,
  isThere: (reports: readonly NodeReport[]) => boolean,
): Promise<readonly NodeReport[] | null> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const reports = await machines.report();
    if (reports === null || isThere(reports)) return reports;
    if (Date.now() > deadline) {
      const seen = JSON.stringify(
        reports.map(({ disks, attachments }) => ({ disks, attachments })),
      );
      throw new Error(`Waited in vain for ${what}: ${seen} ${machines.complaints}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/**
 * Looks into the open books of all disks every few seconds of a run, and for requests that nobody answers:
 * invariants I7, I12 and I13 as they hold at every moment. At the end, when all is quiet, also at the bytes on
 * the disks: what belongs to no extent must be gone (I7).
 */
import { BLOCK_BYTES, BLOCKS_PER_EXTENT, EXTENT_BYTES } from '../../../shared/base/units.ts';
import { PRESENCE } from '../../../shared/wire/data-protocol.ts';
import type { Cluster } from '../cluster.ts';
import type { SimulatedDisk } from '../ports/simulated-disk.ts';
import { type DiskBooks, findFalseBooks, readBooks } from './disk-books.ts';
import { newestMapOf } from './kept-maps.ts';
import { type KnownFlaws, storesOf } from './replica-comparison.ts';

export interface InspectionModules {
  readonly cluster: Cluster;
  /** A disk whose index has rotted says what it likes. */
  isDead(disk: number): boolean;
  readonly onViolation: (what: string) => void;
}

const LOOK_MS = 2_000;
/** A disk that hangs is noticed within fifty seconds; then all that waits there is refused. */
const STUCK_MS = 75_000;
const ZEROS = Buffer.alloc(BLOCK_BYTES);

export class DiskInspection {
  readonly #modules: InspectionModules;

  constructor(modules: InspectionModules) {
    this.#modules = modules;
  }

  start(): void {
    this.#modules.cluster.clock.after(LOOK_MS, () => {
      this.look();
      this.start();
    });
  }

  look(): void {
    const { cluster, onViolation } = this.#modules;
    for (const books of this.#books()) {
      for (const what of findFalseBooks(books, cluster.watch.facts)) onViolation(what);
    }
    const stuck = cluster.watch.replicas.findStuck(STUCK_MS, (host, disk) => {
      // What a device that never answers was asked for is never answered either: gateways gave it up long ago.
      if (deviceOf(cluster, disk)?.isHung === true) return Number.POSITIVE_INFINITY;
      const process = cluster.node(host)?.dataProcess ?? null;
      if (process === null || process.isStopped) return Number.POSITIVE_INFINITY;
      return process.lastStopMs;
    });
    if (stuck !== '') onViolation(stuck);
  }

  *#books(): Iterable<DiskBooks> {
    const { cluster, isDead } = this.#modules;
    const pgs = [...cluster.watch.facts.pgs.keys()];
    for (const [disk, store] of storesOf(cluster)) {
      if (store.failure !== null || isDead(disk)) continue;
      const path = cluster.watch.facts.disks.get(disk)?.sourceRoot ?? '';
      yield readBooks(store, pgs, newestMapOf(cluster, path)?.version ?? 0);
    }
  }
}

/** Bytes on quiet disks that no extent owns, or where its extent says there is no data; one sentence each. */
export function findResidue(cluster: Cluster, flaws: KnownFlaws): string[] {
  const residue: string[] = [];
  const { facts } = cluster.watch;
  for (const [disk, store] of storesOf(cluster)) {
    if (store.failure !== null || flaws.isDead(disk) || store.usage().pendingSlots > 0) continue;
    const device = deviceOf(cluster, disk);
    if (device === null) continue;
    const { extents } = readBooks(store, facts.pgs.keys(), 0);
    const owned = new Map(extents.map((extent) => [keyOf(extent.place), extent]));
    for (const name of device.list().filter((file) => file.startsWith('slabs/'))) {
      const bytes = device.bytesOf(name);
      for (const offset of device.pagesOf(name, 0, bytes.length)) {
        // Zeros that were written are as good as nothing.
        if (ZEROS.equals(bytes.subarray(offset, offset + BLOCK_BYTES))) continue;
        const slot = offset - (offset % EXTENT_BYTES);
        const extent = owned.get(keyOf({ name, offset: slot }));
        if (extent === undefined) {
          residue.push(`I7: d${disk} has bytes at ${offset} of ${name}, which no extent owns`);
          break;
        }
        const address = `v${extent.volume}.${extent.layer}/${extent.extent}`;
        const isQuiet = !extent.dirty && !extent.incomplete;
        if (!isQuiet || flaws.damaged.has(`${disk} ${extent.pg} ${address}`)) continue;
        const block = (offset - slot) / BLOCK_BYTES;
        const presence = new Uint8Array(BLOCKS_PER_EXTENT / 4);
        store.presenceOf(extent, block, 1, presence, () => undefined);
        if (((presence[0] ?? 0) & 3) === PRESENCE.data) continue;
        residue.push(`I7: d${disk} has bytes in block ${block} of ${address}, which holds no data`);
        break;
      }
    }
  }
  return residue;
}

function keyOf(place: { readonly name: string; readonly offset: number } | null): string {
  return place === null ? '' : `${place.name} ${place.offset}`;
}

function deviceOf(cluster: Cluster, disk: number): SimulatedDisk | null {
  const path = cluster.watch.facts.disks.get(disk)?.sourceRoot ?? '';
  return cluster.nodes.flatMap((node) => node.disks.get(path) ?? [])[0] ?? null;
}

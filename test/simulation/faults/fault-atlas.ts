/**
 * Knows, per placement group, which copies are good: in sync by the last durable word, on a disk that
 * works, undamaged, with their memory, on a node that is there. Faults ask it first, so that a run
 * that claims safety never takes the last good copy of anything, and whatever goes wrong is the code's fault.
 *
 * What each kind of fault may do:
 * - take a node away for a while (isolation, a crash, a stop): always, as nothing is lost with it; but
 *   when a group has damaged copies, a good one must stay, because the others would be copied from;
 * - take what was not synced (power): every group in sync there keeps a good copy elsewhere;
 * - take a disk for good: likewise, and enough nodes are left to hold all copies;
 * - damage a copy of a group: likewise;
 * - end a process whose store holds damage in dirty extents: never. A store that opens after a crash takes the
 *   blocks of dirty extents as they are (DESIGN 6), and damage would become data.
 *
 * It trusts the manager's durable facts for who is in sync; it knows nothing else of the code under test.
 */
import type { State } from '../../../scheduler/core/state.ts';
import { EXTENT_BYTES } from '../../../shared/base/units.ts';
import { type KnownFlaws, storesOf } from '../checkers/replica-comparison.ts';
import type { Cluster } from '../cluster.ts';
import type { SimulatedDisk } from '../ports/simulated-disk.ts';
import type { SimulatedNode } from '../simulated-node.ts';

/** One extent of one copy, where it lies. */
export interface CopyPlace {
  readonly disk: number;
  readonly device: SimulatedDisk;
  readonly node: SimulatedNode;
  readonly pg: number;
  readonly volume: number;
  readonly layer: number;
  readonly extent: number;
  readonly name: string;
  readonly offset: number;
}

interface Damage {
  readonly place: CopyPlace;
  readonly offset: number;
  readonly length: number;
}

interface DiskPlace {
  readonly node: SimulatedNode;
  readonly device: SimulatedDisk;
  readonly isServing: boolean;
}

/** After a node came back, a member that was missed may still be removed because of it: gateways report late. */
const AFTERMATH_MS = 6_000;
const EXTENTS_MAX = 256;

export class FaultAtlas {
  readonly #cluster: Cluster;
  /** By the last commit. */
  readonly #inSync = new Map<number, readonly number[]>();
  readonly #disks = new Map<number, DiskPlace>();
  readonly #fenced = new Set<SimulatedNode>();
  /** Copies that lost writes with their power: `pg/disk`, until the group has gone on without them. */
  readonly #forgetful = new Set<string>();
  readonly #dead = new Set<SimulatedDisk>();
  /** Disks by number whose machine was replaced. */
  readonly #lost = new Set<number>();
  /** Faults under way per node, and until when their aftermath lasts. */
  readonly #away = new Map<SimulatedNode, number>();
  readonly #awayUntil = new Map<SimulatedNode, number>();
  #damages: Damage[] = [];

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  onCommit(state: State): void {
    const { facts } = state;
    for (const disk of facts.disks.values()) {
      const node = this.#cluster.node(facts.nodes.find(disk.node)?.hostname ?? '');
      const device = node?.disks.get(disk.sourceRoot ?? '');
      if (node === undefined || device === undefined) continue;
      const isFenced = facts.nodes.find(disk.node)?.isFenced === true;
      if (isFenced) this.#fenced.add(node);
      else this.#fenced.delete(node);
      this.#disks.set(disk.id, { node, device, isServing: disk.phase === 'serving' });
    }
    for (const pg of facts.pgs.values()) {
      const before = this.#inSync.get(pg.id);
      if (before === pg.inSync) continue;
      this.#inSync.set(pg.id, pg.inSync);
      for (const disk of before ?? []) {
        if (!pg.inSync.some((member) => member === disk))
          this.#forgetful.delete(`${pg.id}/${disk}`);
      }
    }
  }

  /** The cluster is whole and no fault is under way: whoever is in sync has everything. */
  onRest(): void {
    this.#forgetful.clear();
    this.#awayUntil.clear();
  }

  // ── Questions ────────────────────────────────────────────────────────────────────────────────

  /** Whether these nodes may go out of reach together. */
  mayLeave(nodes: readonly SimulatedNode[]): boolean {
    return this.#pgsOn((place) => nodes.includes(place.node)).every(
      (pg) => !this.#isHurt(pg) || this.#hasGood(pg, (place) => nodes.includes(place.node)),
    );
  }

  /** Whether a process of the node may end without closing anything. */
  mayCrash(node: SimulatedNode): boolean {
    if (!this.mayLeave([node])) return false;
    return !this.#standing().some(({ place }) => place.node === node && this.#isDirty(place));
  }

  mayLosePower(node: SimulatedNode): boolean {
    if (!this.mayCrash(node)) return false;
    return this.#pgsOn((place) => place.node === node).every((pg) =>
      this.#hasGood(pg, (place) => place.node === node),
    );
  }

  /**
   * Whether all may lose power at once: what is not synced is gone then by right, so no copy may be less
   * than the others for another reason.
   */
  mayBlackOut(): boolean {
    return this.#standing().length === 0;
  }

  /** `mayStandIn`: whether another disk could hold what this one does; all of them when pools stay as they are. */
  mayLoseDisk(
    device: SimulatedDisk,
    replicas: number,
    mayStandIn: (other: SimulatedDisk) => boolean = () => true,
  ): boolean {
    if (this.#dead.has(device)) return false;
    const hosts = this.#cluster.nodes.filter((node) =>
      [...node.disks.values()].some(
        (disk) => disk !== device && !this.#dead.has(disk) && mayStandIn(disk),
      ),
    );
    if (hosts.length < replicas) return false;
    return this.#pgsOn((place) => place.device === device).every((pg) =>
      this.#hasGood(pg, (place) => place.device === device),
    );
  }

  /** Whether a machine may be gone with all its disks. */
  mayLoseNode(node: SimulatedNode, replicas: number): boolean {
    if (!this.mayLosePower(node)) return false;
    const hosts = this.#cluster.nodes.filter(
      (other) => other !== node && [...other.disks.values()].some((disk) => !this.#dead.has(disk)),
    );
    return hosts.length >= replicas;
  }

  mayDamage({ device, pg }: CopyPlace): boolean {
    if (this.#dead.has(device)) return false;
    return this.#hasGood(pg, (place) => place.device === device);
  }

  /** Extents with a slot that are in sync somewhere; `isCold`: nobody writes to them at the moment. */
  places(isCold: boolean): CopyPlace[] {
    const stores = storesOf(this.#cluster);
    const places: CopyPlace[] = [];
    for (const [pg, members] of this.#inSync) {
      for (const disk of members) {
        const store = stores.get(disk);
        const where = this.#disks.get(disk);
        if (store === undefined || where === undefined || store.failure !== null) continue;
        for (const entry of store.listExtents(pg, null, EXTENTS_MAX).entries) {
          if (entry.incomplete || (isCold && entry.dirty)) continue;
          const slot = store.placeOf(entry);
          if (slot === null) continue;
          const { volume, layer, extent } = entry;
          const { node, device } = where;
          places.push({ disk, device, node, pg, volume, layer, extent, ...slot });
        }
      }
    }
    return places;
  }

  /** The extent that a place of the device belongs to; null when nobody in sync keeps one there. */
  findPlace(device: SimulatedDisk, name: string, offset: number): CopyPlace | null {
    return (
      this.places(false).find(
        (place) =>
          place.device === device &&
          place.name === name &&
          place.offset <= offset &&
          offset < place.offset + EXTENT_BYTES,
      ) ?? null
    );
  }

  findFlaws(): KnownFlaws {
    const damaged = new Set(
      this.#standing().map(
        ({ place: { disk, pg, volume, layer, extent } }) =>
          `${disk} ${pg} v${volume}.${layer}/${extent}`,
      ),
    );
    const isDead = (disk: number): boolean => {
      const device = this.#disks.get(disk)?.device;
      return device !== undefined && this.#dead.has(device);
    };
    return { damaged, isDead };
  }

  /** A disk that hangs and that the cluster still counts on; empty when there is none. */
  findUnnoticed(): string {
    for (const [disk, { device, isServing }] of this.#disks) {
      if (isServing && device.isHung) return `d${disk} hangs and is still in service`;
    }
    return '';
  }

  // ── What faults say ──────────────────────────────────────────────────────────────────────────

  /** Out of reach, or not working, until the returned function is called. */
  beginAway(node: SimulatedNode): () => void {
    this.#away.set(node, (this.#away.get(node) ?? 0) + 1);
    return () => {
      this.#away.set(node, (this.#away.get(node) ?? 1) - 1);
      this.#awayUntil.set(node, this.#cluster.clock.now() + AFTERMATH_MS);
    };
  }

  notePowerLoss(node: SimulatedNode): void {
    for (const [pg, members] of this.#inSync) {
      for (const disk of members) {
        if (this.#disks.get(disk)?.node === node) this.#forgetful.add(`${pg}/${disk}`);
      }
    }
  }

  /** What it held is gone; whoever counts on it finds nothing there. */
  noteNodeLost(node: SimulatedNode): void {
    for (const [disk, place] of this.#disks) if (place.node === node) this.#lost.add(disk);
  }

  noteDead(device: SimulatedDisk): void {
    this.#dead.add(device);
  }

  noteDamage(place: CopyPlace, offset: number, length: number): void {
    this.#damages.push({ place, offset, length });
  }

  // ── Inside ───────────────────────────────────────────────────────────────────────────────────

  #pgsOn(isThere: (place: DiskPlace) => boolean): number[] {
    const pgs: number[] = [];
    for (const [pg, members] of this.#inSync) {
      const isMember = members.some((disk) => {
        const place = this.#disks.get(disk);
        return place !== undefined && isThere(place);
      });
      if (isMember) pgs.push(pg);
    }
    return pgs;
  }

  /** Whether some in-sync copy is less than it should be. */
  #isHurt(pg: number): boolean {
    return (this.#inSync.get(pg) ?? []).some((disk) => this.#isFlawed(pg, disk));
  }

  #hasGood(pg: number, isExcluded: (place: DiskPlace) => boolean): boolean {
    return (this.#inSync.get(pg) ?? []).some((disk) => {
      const place = this.#disks.get(disk);
      if (place === undefined || isExcluded(place)) return false;
      return place.isServing && this.#isThere(place.node) && !this.#isFlawed(pg, disk);
    });
  }

  #isFlawed(pg: number, disk: number): boolean {
    const device = this.#disks.get(disk)?.device;
    if (device === undefined || this.#dead.has(device) || this.#lost.has(disk)) return true;
    if (this.#forgetful.has(`${pg}/${disk}`)) return true;
    return this.#standing().some(({ place }) => place.pg === pg && place.disk === disk);
  }

  #isThere(node: SimulatedNode): boolean {
    if (!node.isPowered || this.#fenced.has(node) || (this.#away.get(node) ?? 0) > 0) return false;
    if (this.#cluster.clock.now() < (this.#awayUntil.get(node) ?? 0)) return false;
    const { dataProcess } = node;
    return dataProcess?.isRunning === true && !dataProcess.isStopped;
  }

  /** Damage that nothing has been written over since. */
  #standing(): readonly Damage[] {
    if (this.#damages.length === 0) return this.#damages;
    this.#damages = this.#damages.filter(({ place, offset, length }) =>
      place.device.defects.isDamaged(place.name, offset, length),
    );
    return this.#damages;
  }

  #isDirty(place: CopyPlace): boolean {
    const store = storesOf(this.#cluster).get(place.disk);
    return store?.stampOf(place)?.dirty !== false;
  }
}

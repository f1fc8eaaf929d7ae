/** The links of one volume, made when first needed, and the question whether they are all open. */
import type { DiskId, PgId } from '../../shared/base/ids.ts';
import type { MapVolume } from '../../shared/model/cluster-map.ts';
import type { MapIndex } from '../map-index.ts';
import type { Peer } from '../peer/peer.ts';
import type { PeerSet } from '../peer/peer-set.ts';
import { type LinkOwner, MemberLink } from './member-links.ts';

export class LinkTable {
  readonly #placement: MapVolume;
  readonly #map: MapIndex;
  readonly #peers: PeerSet;
  readonly #owner: LinkOwner;
  readonly #links = new Map<DiskId, MemberLink>();

  constructor(placement: MapVolume, map: MapIndex, peers: PeerSet, owner: LinkOwner) {
    this.#placement = placement;
    this.#map = map;
    this.#peers = peers;
    this.#owner = owner;
  }

  /** For the hot path, which should not have to ask for the time. */
  find(disk: DiskId): MemberLink | undefined {
    return this.#links.get(disk);
  }

  get(disk: DiskId, nowMs: number): MemberLink {
    const known = this.#links.get(disk);
    if (known !== undefined) return known;
    const link = new MemberLink(disk, this.#owner, this.#peers);
    this.#links.set(disk, link);
    link.open(nowMs);
    return link;
  }

  /** Links to all members of the volume's PGs, joining ones included. */
  openMembers(nowMs: number): void {
    for (const disk of this.#disksOf('members')) this.get(disk, nowMs);
  }

  /** Asks again where the generation is not accepted yet; `peer`: only there. */
  openRest(peer: Peer | null, nowMs: number): void {
    for (const link of this.#links.values()) {
      if (!link.isOpen && (peer === null || link.peer === peer)) link.open(nowMs);
    }
  }

  /** Every in-sync replica of every PG has accepted the generation, and there is one. */
  isOpen(nowMs: number): boolean {
    const disks = this.#disksOf('inSync');
    for (const disk of disks) if (!this.get(disk, nowMs).isOpen) return false;
    return disks.size > 0;
  }

  #disksOf(kind: 'members' | 'inSync'): Set<DiskId> {
    const { pgBase, pgCount } = this.#placement;
    const disks = new Set<DiskId>();
    for (let pg = pgBase; pg < pgBase + pgCount; pg += 1) {
      for (const disk of this.#map.pgs.get(pg as PgId)?.[kind] ?? []) disks.add(disk);
    }
    return disks;
  }
}

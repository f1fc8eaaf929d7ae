/**
 * What is durable, read from the rows of the metadata store as they are committed, not from the
 * manager's memory: who was a member of a PG in which epoch, which disk is on which node, where a
 * volume's extents are. The measure that replicas and gateways are held against.
 */
import type {
  ClusterRecord,
  DiskRecord,
  NodeRecord,
  PgRecord,
  VolumeRecord,
} from '../../../scheduler/core/records.ts';
import type { StoreChange } from '../../../shared/ports.ts';

/** A disk that left the in-sync members of a PG while its node was being shut out. */
export interface ShutOut {
  readonly epoch: number;
  readonly atMs: number;
}

export class DurableFacts {
  readonly disks = new Map<number, DiskRecord>();
  readonly nodes = new Map<number, NodeRecord>();
  readonly volumes = new Map<number, VolumeRecord>();
  readonly pgs = new Map<number, PgRecord>();
  /** Every epoch that ever was, by `pg/epoch`. */
  readonly #epochs = new Map<string, PgRecord>();
  /** By `disk/pg`: the last time a member was removed without being asked. */
  readonly #shutOut = new Map<string, ShutOut>();
  /** By `disk/pg`: the epoch in which the disk last became a member, joining or at once in sync. */
  readonly #memberSince = new Map<string, number>();
  /** Per volume and generation: each PG as it was when the attachment was made. */
  readonly #attached = new Map<string, readonly PgRecord[]>();
  /** Fewest registered nodes that there ever were, from three on: majorities are no smaller. */
  votersMin = Number.POSITIVE_INFINITY;
  mapVersion = 0;
  /** Called with each PG that changed, when all of the commit is known. */
  onPgChanged: (before: PgRecord | undefined, pg: PgRecord) => void = () => undefined;

  onCommit(changes: readonly StoreChange[], nowMs: number): void {
    for (const { key, value } of changes) {
      const [table = '', id = ''] = key.split('/');
      const target = this.#tableOf(table);
      if (target === null) continue;
      if (value === null) target.delete(Number(id));
      else target.set(Number(id), JSON.parse(value));
    }
    const changed: [PgRecord | undefined, PgRecord][] = [];
    // Nodes and disks of the same commit count before the memberships that follow from them.
    for (const { key, value } of changes) {
      if (value === null) continue;
      if (key === 'cluster') this.mapVersion = (JSON.parse(value) as ClusterRecord).mapVersion;
      if (key.startsWith('pg/')) {
        const pg = JSON.parse(value) as PgRecord;
        changed.push([this.pgs.get(pg.id), pg]);
        this.#onPg(pg, nowMs);
      }
      if (key.startsWith('volume/')) this.#onVolume(JSON.parse(value) as VolumeRecord);
    }
    const voters = [...this.nodes.values()].filter(
      (node) => node.registeredAtVersion !== null && node.removedAtVersion === null,
    );
    if (voters.length >= 3) this.votersMin = Math.min(this.votersMin, voters.length);
    for (const [before, pg] of changed) this.onPgChanged(before, pg);
  }

  find(pg: number, epoch: number): PgRecord | undefined {
    return this.#epochs.get(`${pg}/${epoch}`);
  }

  findShutOut(disk: number, pg: number): ShutOut | undefined {
    return this.#shutOut.get(`${disk}/${pg}`);
  }

  /** What a disk acked in an earlier epoch is no matter: a join copies and syncs everything. */
  memberSince(disk: number, pg: number): number {
    return this.#memberSince.get(`${disk}/${pg}`) ?? 0;
  }

  /** Who was in sync when this generation began, and has not left since, in any PG of the volume. */
  holdersSince(volume: number, generation: number): Set<number> {
    const holders = new Set<number>();
    for (const { id, epoch, inSync } of this.#attached.get(`${volume}/${generation}`) ?? []) {
      const now = this.pgs.get(id)?.inSync ?? [];
      for (const disk of inSync) {
        if (now.includes(disk) && this.memberSince(disk, id) <= epoch) holders.add(disk);
      }
    }
    return holders;
  }

  #tableOf(name: string): Map<number, unknown> | null {
    switch (name) {
      case 'disk':
        return this.disks;
      case 'node':
        return this.nodes;
      case 'volume':
        return this.volumes;
      default:
        return null;
    }
  }

  #onPg(pg: PgRecord, nowMs: number): void {
    const before = this.pgs.get(pg.id);
    this.pgs.set(pg.id, pg);
    this.#epochs.set(`${pg.id}/${pg.epoch}`, pg);
    const known = [...(before?.inSync ?? []), ...(before?.joining ?? [])];
    for (const disk of [...pg.inSync, ...pg.joining]) {
      if (!known.includes(disk)) this.#memberSince.set(`${disk}/${pg.id}`, pg.epoch);
    }
    for (const disk of before?.inSync ?? []) {
      if (pg.inSync.includes(disk)) continue;
      const node = this.nodes.get(this.disks.get(disk)?.node ?? -1);
      if (node?.isFenced !== true) continue;
      this.#shutOut.set(`${disk}/${pg.id}`, { epoch: pg.epoch, atMs: nowMs });
    }
  }

  #onVolume(volume: VolumeRecord): void {
    const key = `${volume.id}/${volume.generation}`;
    if (this.#attached.has(key)) return;
    const pgs: PgRecord[] = [];
    for (let id = volume.pgBase; id < volume.pgBase + volume.pgCount; id += 1) {
      const pg = this.pgs.get(id);
      if (pg !== undefined) pgs.push(pg);
    }
    this.#attached.set(key, pgs);
  }
}

/**
 * Follows the map on one node: starts a join for every PG in which a local disk is joining, keeps
 * them inside the background limits, and frees what no longer belongs here: extents of PGs that a
 * disk has left, and of deleted volumes.
 */
import type { DiskId, PgId } from '../../shared/base/ids.ts';
import type { JoinReport } from '../../shared/model/node-report.ts';
import type { Clock, Log } from '../../shared/ports.ts';
import { nameOf, STATUS } from '../../shared/wire/data-protocol.ts';
import type { BackgroundLimits } from '../data-plane.ts';
import type { Done } from '../disk/store-types.ts';
import type { MapIndex, PgView } from '../map-index.ts';
import type { PeerSet } from '../peer/peer-set.ts';
import type { Background } from './background.ts';
import type { BlockHealer } from './block-healer.ts';
import { JoinTask } from './join-task.ts';
import { isDeleted } from './membership.ts';
import type { ReplicaDisk } from './replica-disk.ts';
import type { ReplicaServer } from './replica-server.ts';
import type { BlockPlace } from './source-operations.ts';
import { TokenBucket } from './token-bucket.ts';

export interface ResyncOptions {
  readonly limits: BackgroundLimits;
  /**
   * How long a disk that is neither a member of a PG nor wanted as one keeps its extents. One that was
   * removed because it was away stays wanted for a while, and is then copied cheaply.
   */
  readonly forgetAfterMs: number;
}

export interface ResyncModules {
  readonly clock: Clock;
  readonly log: Log;
  readonly map: MapIndex;
  readonly peers: PeerSet;
  readonly server: ReplicaServer;
  readonly background: Background;
  readonly healer: BlockHealer;
  readonly onUrgent: () => void;
}

/** The plan may change its mind once more; beyond that the space is worth more than the copy. */
export const FORGET_AFTER_MS = 5_000;
/** Giving an extent of 4 MiB back costs the disk about as much as writing this part of it. */
const DELETE_RATIO = 1 / 64;
const SWEEP_MS = 5_000;

export class Resync {
  readonly #options: ResyncOptions;
  readonly #modules: ResyncModules;
  readonly #bucket: TokenBucket;
  readonly #tasks = new Map<string, JoinTask>();
  /** Since when a disk keeps what nobody wants there, by `disk/pg`. */
  readonly #leaving = new Map<string, number>();
  /** What is being dropped, by `disk/what`. */
  readonly #dropping = new Set<string>();
  #concurrentJoins: number;
  #isClosed = false;

  constructor(options: ResyncOptions, modules: ResyncModules) {
    this.#options = options;
    this.#modules = modules;
    this.#bucket = new TokenBucket(modules.clock, options.limits.resyncBytesPerSecond);
    this.#concurrentJoins = options.limits.concurrentJoins;
    this.#armSweep();
  }

  setLimits(limits: BackgroundLimits): void {
    this.#concurrentJoins = limits.concurrentJoins;
    this.#bucket.setLimit(limits.resyncBytesPerSecond);
    this.#startNext();
  }

  reports(): readonly JoinReport[] {
    return [...this.#tasks.values()].map((task) => task.report());
  }

  /** After a new map or a new disk, before anything is served under it. */
  refresh(): void {
    const { map, server } = this.#modules;
    const wanted = new Set<string>();
    for (const view of map.pgs.values()) {
      for (const id of view.members) {
        const disk = server.disks.get(id);
        if (disk === undefined) continue;
        const key = `${id}/${view.id}`;
        this.#leaving.delete(key);
        if (view.inSync.includes(id)) continue;
        wanted.add(key);
        const known = this.#tasks.get(key);
        if (known !== undefined && known.disk === disk && known.epoch === view.epoch) continue;
        // A gap in the epochs may hide one in which this disk was no member: begin anew.
        const isNext = known?.disk === disk && view.epoch === known.epoch + 1;
        if (known !== undefined && isNext) known.follow(view);
        else this.#begin(key, disk, view.id);
      }
    }
    for (const [key, task] of [...this.#tasks]) {
      if (!wanted.has(key)) this.#end(key, task);
    }
    this.#startNext();
  }

  close(): void {
    this.#isClosed = true;
    for (const [key, task] of [...this.#tasks]) this.#end(key, task);
  }

  #begin(key: string, disk: ReplicaDisk, pg: PgId): void {
    const { map, clock, log, peers, healer, onUrgent } = this.#modules;
    const known = this.#tasks.get(key);
    if (known !== undefined) this.#end(key, known);
    const view = map.pgs.get(pg);
    if (view === undefined) return;
    const allow = (bytes: number): Promise<void> => this.#allow(disk.id, pg, bytes);
    const urgent = (): void => {
      onUrgent();
      this.#startNext();
    };
    const onLost = (place: BlockPlace): void => healer.takeLost(disk.id, pg, place);
    const task = new JoinTask(disk, view, { clock, log, peers, allow, onUrgent: urgent, onLost });
    this.#tasks.set(key, task);
    disk.joins.set(pg, task);
  }

  #end(key: string, task: JoinTask): void {
    task.cancel();
    this.#tasks.delete(key);
    const pg = task.report().pg;
    if (task.disk.joins.get(pg) === task) task.disk.joins.delete(pg);
  }

  #startNext(): void {
    let busy = 0;
    for (const task of this.#tasks.values()) if (task.isBusy) busy += 1;
    for (const task of this.#tasks.values()) {
      if (busy >= this.#concurrentJoins) return;
      if (task.isStarted) continue;
      task.start();
      busy += 1;
    }
  }

  async #allow(disk: DiskId, pg: PgId, bytes: number): Promise<void> {
    const view = this.#modules.map.pgs.get(pg);
    const isShort = view !== undefined && view.inSync.length < view.pg.target.length;
    await this.#modules.background.allow(disk, isShort ? 'rebuild' : 'rebalance', bytes);
    await new Promise<void>((resolve) => {
      this.#bucket.take(bytes, resolve);
    });
  }

  #armSweep(): void {
    this.#modules.clock.after(SWEEP_MS, () => {
      if (this.#isClosed) return;
      this.#sweep();
      this.#armSweep();
    });
  }

  #sweep(): void {
    if (this.#modules.map.map === null) return;
    for (const disk of this.#modules.server.disks.values()) {
      if (disk.store.failure !== null) continue;
      this.#dropDeletedVolumes(disk);
      this.#forgetLeftPgs(disk);
    }
  }

  #dropDeletedVolumes(disk: ReplicaDisk): void {
    const { map, log } = this.#modules;
    for (const { volume, bytes } of disk.store.volumeUsage()) {
      if (!isDeleted(volume, map)) continue;
      this.#drop(disk, `v${volume}`, bytes, (done) => {
        log('info', 'Dropping the extents of a deleted volume', { disk: disk.id, volume });
        disk.store.deleteVolume(volume, done);
      });
    }
  }

  #forgetLeftPgs(disk: ReplicaDisk): void {
    const { clock, map, log } = this.#modules;
    for (const { pg, bytes } of disk.store.pgUsage()) {
      const view = map.pgs.get(pg as PgId);
      const key = `${disk.id}/${pg}`;
      if (view !== undefined && isWanted(view, disk.id)) {
        this.#leaving.delete(key);
        continue;
      }
      const sinceMs = this.#leaving.get(key);
      if (sinceMs === undefined) {
        this.#leaving.set(key, clock.now());
        continue;
      }
      if (clock.now() - sinceMs < this.#options.forgetAfterMs) continue;
      this.#drop(disk, `pg${pg}`, bytes, (done) => {
        // The plan may have changed its mind while this waited for its turn.
        const now = map.pgs.get(pg as PgId);
        if (now !== undefined && isWanted(now, disk.id)) {
          done(STATUS.ok);
          return;
        }
        log('info', 'Freeing the extents of a placement group that left this disk', {
          disk: disk.id,
          pg,
        });
        this.#leaving.delete(key);
        disk.store.forgetPg(pg, done);
      });
    }
  }

  /** In its turn among the background work of the disk; once at a time. */
  #drop(disk: ReplicaDisk, what: string, bytes: number, start: (done: Done) => void): void {
    const key = `${disk.id}/${what}`;
    if (this.#dropping.has(key)) return;
    this.#dropping.add(key);
    const finish = (status: number): void => {
      this.#dropping.delete(key);
      if (status === STATUS.ok) return;
      const fields = { disk: disk.id, what, status: nameOf(STATUS, status) };
      this.#modules.log('warn', 'Could not free extents, trying again later', fields);
    };
    void this.#modules.background.allow(disk.id, 'delete', bytes * DELETE_RATIO).then(() => {
      if (this.#isClosed || disk.store.failure !== null) finish(STATUS.ok);
      else start(finish);
    });
  }
}

/** A member, wanted as one, or perhaps needed again because the others are not complete. */
function isWanted(view: PgView, disk: DiskId): boolean {
  const { members, inSync, pg } = view;
  return members.includes(disk) || pg.target.includes(disk) || inSync.length < pg.target.length;
}

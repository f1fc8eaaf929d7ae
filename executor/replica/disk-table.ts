/**
 * The disks given to this node: opens and closes their stores, and says how they are. A disk that
 * fails is out; the others live on (DESIGN 6).
 */

import { describeError } from '../../shared/base/errors.ts';
import type { DiskId, PgId, VolumeId } from '../../shared/base/ids.ts';
import type {
  DiskReport,
  DiskStatus,
  ForeignFinding,
  PgUsage,
  VolumeUsage,
} from '../../shared/model/node-report.ts';
import type { Log } from '../../shared/ports.ts';
import type { DiskAssignment } from '../data-plane.ts';
import { foreignOf } from '../disk/disk-claim.ts';
import type { ExtentStore } from '../disk/extent-store.ts';
import { ReplicaDisk } from './replica-disk.ts';

export type OpenStore = (disk: DiskAssignment) => Promise<ExtentStore>;

export interface DiskTableModules {
  readonly log: Log;
  readonly openStore: OpenStore;
  /** The kind of device below a directory; null or missing: not known. */
  readonly tierOf?: (path: string) => NonNullable<DiskReport['tier']> | null;
  readonly onUrgent: () => void;
  /** A store is open and may be served; before a removed one is closed. */
  readonly onOpened: (disk: ReplicaDisk) => void;
  readonly onRemoved: (id: DiskId) => void;
}

interface Entry {
  readonly assignment: DiskAssignment;
  status: DiskStatus;
  error: string;
  foreign: ForeignFinding | null;
  readonly tier: NonNullable<DiskReport['tier']> | null;
  disk: ReplicaDisk | null;
  opening: Promise<void>;
  isRemoved: boolean;
}

export class DiskTable {
  readonly #modules: DiskTableModules;
  readonly #entries = new Map<DiskId, Entry>();
  /** Stores of removed disks on their way to being closed, by disk: it opens again only after that. */
  readonly #closing = new Map<DiskId, Promise<void>>();

  constructor(modules: DiskTableModules) {
    this.#modules = modules;
  }

  get opened(): readonly ReplicaDisk[] {
    return [...this.#entries.values()].flatMap((entry) =>
      entry.disk === null ? [] : [entry.disk],
    );
  }

  add(assignment: DiskAssignment): void {
    const known = this.#entries.get(assignment.id);
    // Said again: nothing new, unless it failed before and may work now.
    if (known !== undefined && known.status !== 'failed') return;
    if (known !== undefined) void this.remove(assignment.id);
    const entry: Entry = {
      assignment,
      status: 'opening',
      error: '',
      foreign: null,
      tier: this.#modules.tierOf?.(assignment.path) ?? null,
      disk: null,
      opening: Promise.resolve(),
      isRemoved: false,
    };
    this.#entries.set(assignment.id, entry);
    entry.opening = this.#open(entry);
  }

  /** Resolves when its store is closed. */
  remove(id: DiskId): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return this.#closing.get(id) ?? Promise.resolve();
    this.#entries.delete(id);
    entry.isRemoved = true;
    this.#modules.onRemoved(id);
    const closing = this.#close(entry).finally(() => {
      if (this.#closing.get(id) === closing) this.#closing.delete(id);
    });
    this.#closing.set(id, closing);
    return closing;
  }

  reports(): readonly DiskReport[] {
    return [...this.#entries.values()].map(reportOf);
  }

  volumeUsage(): readonly VolumeUsage[] {
    return this.opened.flatMap((disk) =>
      disk.store.volumeUsage().map(({ volume, bytes }) => ({
        volume: volume as VolumeId,
        disk: disk.id,
        bytes,
      })),
    );
  }

  pgUsage(): readonly PgUsage[] {
    return this.opened.flatMap((disk) =>
      disk.store.pgUsage().map(({ pg, bytes }) => ({ pg: pg as PgId, disk: disk.id, bytes })),
    );
  }

  async close(): Promise<void> {
    for (const id of [...this.#entries.keys()]) void this.remove(id);
    await Promise.all(this.#closing.values());
  }

  async #open(entry: Entry): Promise<void> {
    const { assignment } = entry;
    const { log, openStore, onUrgent, onOpened } = this.#modules;
    try {
      await this.#closing.get(assignment.id);
      const store = await openStore(assignment);
      const disk = new ReplicaDisk(assignment.id, store);
      entry.disk = disk;
      if (entry.isRemoved) return;
      entry.status = 'serving';
      store.onFailure((reason) => this.#fail(entry, reason));
      log('info', 'A disk is open', { disk: assignment.id, path: assignment.path });
      onOpened(disk);
      onUrgent();
    } catch (error) {
      entry.foreign = foreignOf(error);
      this.#fail(entry, describeError(error));
    }
  }

  #fail(entry: Entry, reason: string): void {
    entry.status = 'failed';
    entry.error = reason;
    const { id, path } = entry.assignment;
    this.#modules.log('error', 'A disk failed', { disk: id, path, error: reason });
    this.#modules.onUrgent();
  }

  async #close(entry: Entry): Promise<void> {
    await entry.opening;
    try {
      await entry.disk?.store.close();
    } catch (error) {
      const { id } = entry.assignment;
      this.#modules.log('warn', 'Could not close a disk cleanly', {
        disk: id,
        error: describeError(error),
      });
    }
  }
}

function reportOf(entry: Entry): DiskReport {
  const { assignment, status, error, disk, tier, foreign } = entry;
  const usage = disk === null ? null : disk.store.usage();
  return {
    id: assignment.id,
    uuid: assignment.uuid,
    status,
    error,
    capacityBytes: usage?.capacityBytes ?? assignment.capacityBytes,
    usedBytes: usage?.usedBytes ?? 0,
    path: assignment.path,
    extentCount: usage?.extentCount ?? 0,
    dirtyExtentCount: usage?.dirtyExtentCount ?? 0,
    checksumErrorCount: usage?.checksumErrorCount ?? 0,
    incarnation: disk?.store.incarnation ?? 0,
    ...(tier === null ? {} : { tier }),
    ...(foreign === null ? {} : { foreign }),
  };
}

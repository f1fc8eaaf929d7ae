/**
 * The data plane of one node, put together: disks, replica server, resync and gateways around one map
 * and one lease. Everything it does follows from the map; everything it knows goes into the report.
 */

import type { DiskId, NodeId } from '../shared/base/ids.ts';
import type { ClusterMap, ClusterMapDelta } from '../shared/model/cluster-map.ts';
import type { NodeReport } from '../shared/model/node-report.ts';
import type { ScrubOrder } from '../shared/model/scrub.ts';
import type {
  Clock,
  Connection,
  ConnectionHandlers,
  Listener,
  Log,
  Network,
} from '../shared/ports.ts';
import { STATUS } from '../shared/wire/data-protocol.ts';
import { decodeDurableMap, isNewerMap } from '../shared/wire/durable-map.ts';
import type { BackgroundLimits, DataMemory, DataPlane, DiskAssignment } from './data-plane.ts';
import type { FoundMap } from './disk/map-files.ts';
import { Attachments, type StartExport } from './gateway/attachments.ts';
import { BufferPool } from './gateway/buffer-pool.ts';
import { REQUEST_DEADLINE_MS } from './gateway/volume-options.ts';
import { Lease } from './lease.ts';
import { MapIndex } from './map-index.ts';
import { NoticeBoard } from './notice-board.ts';
import { PeerSet } from './peer/peer-set.ts';
import { Background } from './replica/background.ts';
import { BlockHealer } from './replica/block-healer.ts';
import { DiskTable, type DiskTableModules, type OpenStore } from './replica/disk-table.ts';
import { FillWatch } from './replica/fill-watch.ts';
import type { ReplicaDisk } from './replica/replica-disk.ts';
import { ReplicaServer } from './replica/replica-server.ts';
import { FORGET_AFTER_MS, Resync } from './replica/resync.ts';
import { Scrubber } from './replica/scrub.ts';
import { UsageTurns } from './replica/usage-turns.ts';

export interface NodeDataPlaneOptions {
  readonly clusterId: string;
  /** Differs with every start of the process that runs this. */
  readonly incarnation: string;
  /** `host:port` for the replica server; port 0 takes a free one. */
  readonly listenAddress: string;
  /** How long a request of a client may take before it fails; default 35 s. */
  readonly requestDeadlineMs?: number;
  /** How long a disk keeps the extents of a PG it has left; default ten minutes. */
  readonly forgetAfterMs?: number;
}

export interface NodeDataPlaneModules {
  readonly clock: Clock;
  readonly log: Log;
  /** Must know `local:` addresses (`routeNetwork`). */
  readonly network: Network;
  readonly openStore: OpenStore;
  /** See DiskTableModules. */
  readonly tierOf?: DiskTableModules['tierOf'];
  readonly startExport: StartExport;
  /** Of the clients' server, when it gives back the buffers of answered reads. */
  readonly pool?: BufferPool;
  /** Of this process. */
  readonly resources: () => { readonly cpuSeconds: number; readonly memoryBytes: number };
}

const LOCAL_ADDRESS = 'local:replica';
/** Until `setLimits` says otherwise: half a gigabit network, and no more than two PGs at a time. */
const DEFAULT_LIMITS: BackgroundLimits = {
  resyncBytesPerSecond: 64 * 1024 * 1024,
  concurrentJoins: 2,
};
const DRAIN_MS = 5_000;
/** Somebody has to make room first. */
const MAP_RETRY_MS = 10_000;
const IDLE = { operations: 0, micros: 0 };

/** What exists once the node knows its number. */
interface Parts {
  readonly self: NodeId;
  readonly peers: PeerSet;
  readonly server: ReplicaServer;
  readonly resync: Resync;
  readonly background: Background;
  readonly healer: BlockHealer;
  readonly scrubber: Scrubber;
  readonly attachments: Attachments;
}

export class NodeDataPlane implements DataPlane {
  readonly #options: NodeDataPlaneOptions;
  readonly #modules: NodeDataPlaneModules;
  readonly #map = new MapIndex();
  readonly #lease = new Lease();
  readonly #notices: NoticeBoard;
  readonly #fills: FillWatch;
  readonly #usage = new UsageTurns();
  readonly #disks: DiskTable;
  #limits = DEFAULT_LIMITS;
  #parts: Parts | null = null;
  #listeners: Listener[] = [];
  #onUrgent: () => void = () => undefined;
  /** The last map as it is kept on the disks; null before the first. */
  #record: Uint8Array | null = null;
  /** Of the map that each open disk had kept when it was opened. */
  readonly #keptVersions = new Map<DiskId, number>();
  #isClosed = false;

  constructor(options: NodeDataPlaneOptions, modules: NodeDataPlaneModules) {
    this.#options = options;
    this.#modules = modules;
    this.#notices = new NoticeBoard(modules, () => this.#onUrgent());
    this.#fills = new FillWatch({
      clock: modules.clock,
      disks: () => this.#disks.opened,
      onUrgent: () => this.#onUrgent(),
    });
    this.#disks = new DiskTable({
      log: modules.log,
      openStore: modules.openStore,
      ...(modules.tierOf === undefined ? {} : { tierOf: modules.tierOf }),
      onUrgent: () => this.#onUrgent(),
      onOpened: (disk) => {
        this.#parts?.server.disks.set(disk.id, disk);
        this.#parts?.server.compareMemories();
        this.#parts?.resync.refresh();
        this.#parts?.scrubber.refresh();
        this.#noteKeptMap(disk);
        this.#keepMapOn(disk);
      },
      onRemoved: (id) => {
        this.#keptVersions.delete(id);
        this.#parts?.server.disks.delete(id);
        this.#parts?.healer.forgetDisk(id);
        this.#parts?.scrubber.refresh();
        this.#parts?.resync.refresh();
      },
    });
  }

  /** Listens; resolves with the `host:port` that other nodes reach. Rejects with a `StorageError`. */
  async listen(): Promise<string> {
    const { network } = this.#modules;
    const remote = await network.listen(this.#options.listenAddress, (connection) =>
      this.#accept(connection, false),
    );
    this.#listeners.push(remote);
    this.#listeners.push(
      await network.listen(LOCAL_ADDRESS, (connection) => this.#accept(connection, true)),
    );
    return remote.address;
  }

  addDisk(disk: DiskAssignment): void {
    this.#disks.add(disk);
  }

  removeDisk(id: DiskId): Promise<void> {
    return this.#disks.remove(id);
  }

  applyMap(map: ClusterMap | ClusterMapDelta, self: NodeId): boolean {
    if (this.#isClosed || map.clusterId !== this.#options.clusterId) return false;
    if (!this.#map.apply(map)) return false;
    const parts = this.#partsFor(self);
    parts.server.compareMemories();
    // Joins first: nothing may be served under the new map before they mark fresh blocks.
    parts.resync.refresh();
    parts.peers.refresh();
    parts.attachments.refresh();
    return true;
  }

  extendLease(untilMs: number): void {
    this.#lease.extend(untilMs);
    this.#parts?.attachments.pump();
  }

  setLimits(limits: BackgroundLimits): void {
    this.#limits = limits;
    this.#parts?.background.setLimit(limits.resyncBytesPerSecond);
    this.#parts?.resync.setLimits(limits);
  }

  setScrubs(orders: readonly ScrubOrder[]): void {
    this.#parts?.scrubber.setOrders(orders);
  }

  /** The gateways, for those who serve them in other ways than the exports. */
  get attachments(): Attachments | null {
    return this.#parts === null ? null : this.#parts.attachments;
  }

  keepMap(record: Uint8Array): void {
    this.#record = record;
    for (const disk of this.#disks.opened) this.#keepMapOn(disk);
  }

  recall(): Promise<DataMemory> {
    const disks = this.#disks.opened;
    let newest: FoundMap | null = null;
    for (const { store } of disks) {
      const bytes = store.keptMap();
      if (bytes === null) continue;
      const map = decodeDurableMap(bytes);
      if (newest === null || isNewerMap(map, newest.map)) newest = { bytes, map };
    }
    return Promise.resolve({
      map: newest?.bytes ?? null,
      disks: disks.map(({ id, store }) => ({
        id,
        uuid: store.uuid,
        epochs: [...store.epochs],
        generations: [...store.generations],
        volumes: store.volumeUsage().map(({ volume }) => volume),
      })),
    });
  }

  #noteKeptMap({ id, store }: ReplicaDisk): void {
    const bytes = store.keptMap();
    if (bytes !== null) this.#keptVersions.set(id, decodeDurableMap(bytes).version);
  }

  #keepMapOn(disk: ReplicaDisk): void {
    const record = this.#record;
    if (record === null) return;
    // An older store was put back: what the disk kept is what a recovery needs.
    if ((this.#keptVersions.get(disk.id) ?? 0) > this.#map.version) return;
    disk.store.keepMap(record, (status) => {
      // A failed disk speaks for itself. The map before is still there; a quiet cluster makes no next one.
      if (status !== STATUS.noSpace) return;
      const { clock, log } = this.#modules;
      log('warn', 'No space for the last map on a disk', { disk: disk.id });
      clock.after(MAP_RETRY_MS, () => {
        if (this.#record === record && this.#disks.opened.includes(disk)) this.#keepMapOn(disk);
      });
    });
  }

  report(): NodeReport {
    this.#fills.noteReported();
    const { cpuSeconds, memoryBytes } = this.#modules.resources();
    return {
      mapVersion: this.#map.version,
      disks: this.#disks.reports(),
      joins: this.#parts?.resync.reports() ?? [],
      failures: this.#parts?.attachments.failures() ?? [],
      attachments: this.#parts?.attachments.reports() ?? [],
      ...this.#usage.take(this.#disks.volumeUsage()),
      pgUsage: this.#disks.pgUsage(),
      cpuSeconds,
      memoryBytes,
      noticeSource: this.#options.incarnation,
      notices: this.#notices.list(),
      grantAgeMs: 0,
      badBlocks: this.#parts?.healer.reports() ?? [],
      scrubs: this.#parts?.scrubber.reports() ?? [],
      background: this.#parts?.background.usage() ?? [],
      ...(this.#keptVersions.size === 0
        ? {}
        : { keptMapVersion: Math.max(...this.#keptVersions.values()) }),
    };
  }

  onUrgent(listener: () => void): void {
    this.#onUrgent = listener;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    // Gateways first: their last flush needs the peers and the server.
    await this.#parts?.attachments.close();
    this.#isClosed = true;
    this.#fills.close();
    this.#parts?.resync.close();
    this.#parts?.healer.close();
    this.#parts?.scrubber.close();
    this.#parts?.peers.close('The data plane is closing');
    for (const listener of this.#listeners) listener.close();
    await this.#disks.close();
  }

  #accept(connection: Connection, isLocal: boolean): ConnectionHandlers {
    const server = this.#parts?.server;
    if (server !== undefined && !this.#isClosed) return server.accept(connection, isLocal);
    // Without a map this node does not know who it is; whoever asks comes again.
    connection.close('This node has no map yet');
    return { onFrame: () => undefined, onClose: () => undefined };
  }

  #partsFor(self: NodeId): Parts {
    if (this.#parts !== null) return this.#parts;
    const { clock, log, network, startExport } = this.#modules;
    const { clusterId } = this.#options;
    const pool = this.#modules.pool ?? new BufferPool();
    const map = this.#map;
    const lease = this.#lease;
    const onUrgent = (): void => this.#onUrgent();
    const server = new ReplicaServer({ clusterId, self }, { clock, log, map, lease });
    for (const disk of this.#disks.opened) server.disks.set(disk.id, disk);
    const peers = new PeerSet({ clusterId, self, localAddress: LOCAL_ADDRESS }, map, {
      network,
      clock,
      log,
    });
    const background = new Background(
      {
        clock,
        requests: () => server.foregroundCount,
        latency: () => this.#parts?.attachments.latency() ?? IDLE,
      },
      this.#limits.resyncBytesPerSecond,
    );
    const findDisk = (id: DiskId): ReplicaDisk | null => server.disks.get(id) ?? null;
    const notify = this.#notices.raise;
    const healer = new BlockHealer({ clock, map, peers, notify, findDisk });
    const resync = new Resync(
      { limits: this.#limits, forgetAfterMs: this.#options.forgetAfterMs ?? FORGET_AFTER_MS },
      { clock, log, map, peers, server, background, healer, onUrgent },
    );
    server.onBad = (disk, pg, place) => healer.suspect(disk, pg, place);
    const common = { clock, map, peers, notify, findDisk, onUrgent };
    const scrubber = new Scrubber({ ...common, healer, background });
    const attachments = new Attachments(
      {
        self,
        requestDeadlineMs: this.#options.requestDeadlineMs ?? REQUEST_DEADLINE_MS,
        drainMs: DRAIN_MS,
      },
      { clock, log, map, lease, peers, notify, onUrgent, startExport, pool },
    );
    this.#parts = { self, peers, server, resync, background, healer, scrubber, attachments };
    return this.#parts;
  }
}

/**
 * A tiny executor for scenarios of the manager: it follows the map it is given, copies joining PGs at a
 * fixed pace, serves attachments, keeps a lease, and asks its peers while the manager is silent.
 * It moves numbers, not bytes.
 */
import type { DiskId, NodeId, PgId, VolumeId } from '../../../shared/base/ids.ts';
import {
  applyDelta,
  type ClusterMap,
  type ClusterMapDelta,
} from '../../../shared/model/cluster-map.ts';
import {
  type AttachmentReport,
  type BadBlocks,
  type DiskStatus,
  EMPTY_REPORT,
  type ForeignFinding,
  type JoinReport,
  type MemberFailure,
  type NodeHello,
  type NodeReport,
} from '../../../shared/model/node-report.ts';
import type { ScrubOrder, ScrubReport } from '../../../shared/model/scrub.ts';

export interface SimulatedDisk {
  readonly id: DiskId;
  readonly uuid: string;
  readonly capacityBytes: number;
  status: DiskStatus;
  error: string;
  checksumErrorCount?: number;
  foreign?: ForeignFinding;
  tier?: 'nvme' | 'ssd' | 'hdd';
  /** Bytes per PG and volume. */
  readonly stored: Map<PgId, Map<VolumeId, number>>;
}

interface Join {
  epoch: number;
  reports: number;
}

interface Scrub {
  readonly order: ScrubOrder;
  reports: number;
}

/** Of each PG; one per report. */
const SCRUB_EXTENTS = 3;

const FIRST_INCARNATION = 1_000;
/** Reports that a copy takes. */
const REPORTS_PER_JOIN = 2;

function scrubKey({ job, pg, disk }: ScrubOrder): string {
  return `${job}/${pg}/${disk}`;
}

export class SimulatedExecutor {
  readonly node: NodeId;
  readonly hostname: string;
  /** Another one after an upgrade. */
  executorId: string;
  readonly disks: SimulatedDisk[] = [];
  readonly failures: MemberFailure[] = [];
  badBlocks: readonly BadBlocks[] = [];
  map: ClusterMap | null = null;
  session: string | null = null;
  isAlive = true;
  /** The manager hears nothing of it, and it hears nothing of the manager. */
  isCutOff = false;
  /** Not even peers are reached. */
  isIsolated = false;
  leaseUntilMs = Number.NEGATIVE_INFINITY;
  /** When it granted a peer a lease the last time, or reported for the first time; Infinity before. */
  grantedAtMs = Number.POSITIVE_INFINITY;
  sequence = 0;
  readonly sentAtMs = new Map<number, number>();
  lastReportAtMs = Number.NEGATIVE_INFINITY;
  isReportDue = false;
  /** Gateways that have not closed although the map says so. */
  isGatewayStuck = false;
  /** Copies that do not get on, without saying why. */
  isCopyStuck = false;
  incarnation = 1;
  /** How often its machine went down: each time its stores lose their memory. */
  powerLosses = 0;
  /** Since when its gateways miss an answer of a node. */
  readonly missedSinceMs = new Map<NodeId, number>();
  /** Since when the manager has not heard it, while it lives. */
  cutOffSinceMs: number | null = null;
  /** What it was told to scrub, in order. */
  readonly orders: ScrubOrder[] = [];
  /** Found in every scrub. */
  rottenBlocks = 0;
  #scrubs: readonly Scrub[] = [];
  readonly #joins = new Map<string, Join>();
  readonly #attachments = new Map<VolumeId, number>();

  constructor(node: NodeId) {
    this.node = node;
    this.hostname = `host${node}`;
    this.executorId = `executor${node}`;
  }

  hello(clusterId: string): NodeHello {
    return {
      clusterId,
      agentId: `agent${this.node}`,
      executorId: this.executorId,
      hostname: this.hostname,
      incarnation: `i${this.incarnation}`,
      version: '1',
      dataAddress: `${this.hostname}:7000`,
      grantAddress: `${this.hostname}:7001`,
      mapVersion: this.map?.version ?? 0,
      term: this.map?.term ?? 0,
    };
  }

  applyMap(map: ClusterMap | ClusterMapDelta): void {
    if ('fromVersion' in map) {
      if (this.map === null || this.map.version !== map.fromVersion) {
        // A gap: only a new session brings a full map.
        this.session = null;
        return;
      }
      this.map = applyDelta(this.map, map);
    } else this.map = map;
    this.isReportDue = true;
    this.#follow();
  }

  /** Without the time it does not know when it granted a lease. */
  report(nowMs = Number.NEGATIVE_INFINITY): NodeReport {
    this.#advance();
    if (nowMs > 0) this.grantedAtMs = Math.min(this.grantedAtMs, nowMs);
    return {
      ...EMPTY_REPORT,
      grantAgeMs: Math.max(0, nowMs - this.grantedAtMs),
      badBlocks: this.badBlocks,
      mapVersion: this.map?.version ?? 0,
      disks: this.disks.map((disk) => ({
        id: disk.id,
        uuid: disk.uuid,
        status: disk.status,
        error: disk.error,
        capacityBytes: disk.capacityBytes,
        usedBytes: usedBytes(disk),
        path: `/data/${disk.uuid}`,
        extentCount: 0,
        dirtyExtentCount: 0,
        checksumErrorCount: disk.checksumErrorCount ?? 0,
        incarnation: disk.status === 'serving' ? FIRST_INCARNATION + this.powerLosses : 0,
        ...(disk.foreign === undefined ? {} : { foreign: disk.foreign }),
        ...(disk.tier === undefined ? {} : { tier: disk.tier }),
      })),
      joins: this.#reportJoins(),
      failures: this.failures,
      scrubs: this.#scrubs.map((scrub) => this.#reportScrub(scrub)),
      attachments: [...this.#attachments].map(([volume, generation]) =>
        attachment(volume, generation),
      ),
      volumeUsage: this.disks.flatMap((disk) => volumeUsage(disk)),
      pgUsage: this.disks.flatMap((disk) =>
        [...disk.stored].map(([pg, volumes]) => ({ pg, disk: disk.id, bytes: sum(volumes) })),
      ),
      cpuSeconds: 1,
      memoryBytes: 1,
    };
  }

  /** What is said again goes on. */
  setScrubs(orders: readonly ScrubOrder[]): void {
    const known = new Map(this.#scrubs.map((scrub) => [scrubKey(scrub.order), scrub]));
    this.#scrubs = orders.map((order) => known.get(scrubKey(order)) ?? { order, reports: 0 });
    this.orders.push(...orders.filter((order) => !known.has(scrubKey(order))));
  }

  #reportScrub(scrub: Scrub): ScrubReport {
    const { order } = scrub;
    const { job, pg, disk, volume } = order;
    scrub.reports += 1;
    const first = order.after === null ? 0 : order.after.extent + 1;
    const done = Math.min(SCRUB_EXTENTS, first + scrub.reports - 1);
    return {
      job,
      pg,
      disk,
      isDone: done === SCRUB_EXTENTS,
      position: done === 0 ? null : { volume: volume ?? 1, layer: 0, extent: done - 1 },
      totalExtents: SCRUB_EXTENTS,
      doneExtents: done,
      skippedExtents: 0,
      checkedBytes: 4096 * done,
      badBlocks: this.rottenBlocks,
      differingBlocks: 0,
      healedExtents: 0,
      error: '',
    };
  }

  /** Takes a lease that belongs to a report. */
  extendLease(sequence: number, durationMs: number): void {
    const sentAtMs = this.sentAtMs.get(sequence);
    if (sentAtMs !== undefined)
      this.leaseUntilMs = Math.max(this.leaseUntilMs, sentAtMs + durationMs);
  }

  /** Whether it grants `asker` a lease, by the map that it knows. */
  grants(asker: NodeId, nowMs: number): boolean {
    const node = this.map?.nodes.find((each) => each.id === asker);
    const isGranted = node !== undefined && !node.isFenced;
    if (isGranted) this.grantedAtMs = nowMs;
    return isGranted;
  }

  /** PGs of the volumes that its gateways serve. */
  servedPgs(): ClusterMap['pgs'] {
    const volumes = this.map?.volumes.filter((volume) => this.#attachments.has(volume.id)) ?? [];
    if (volumes.length === 0) return [];
    return (
      this.map?.pgs.filter((pg) =>
        volumes.some((v) => pg.id >= v.pgBase && pg.id < v.pgBase + v.pgCount),
      ) ?? []
    );
  }

  die(): void {
    this.#scrubs = [];
    this.isAlive = false;
    this.session = null;
    this.leaseUntilMs = Number.NEGATIVE_INFINITY;
  }

  restart(): void {
    this.isAlive = true;
    this.incarnation += 1;
    this.grantedAtMs = Number.POSITIVE_INFINITY;
    this.sentAtMs.clear();
    this.#joins.clear();
    this.#follow();
  }

  /** Drops what the map no longer wants here, and follows attachments. */
  #follow(): void {
    const map = this.map;
    if (map === null) return;
    const volumes = new Map(map.volumes.map((volume) => [volume.id, volume]));
    const pgs = new Map(map.pgs.map((pg) => [pg.id, pg]));
    for (const disk of this.disks) {
      for (const [id, stored] of disk.stored) {
        const pg = pgs.get(id);
        const isMember =
          pg?.inSync.includes(disk.id) === true || pg?.joining.includes(disk.id) === true;
        // A member that was left out keeps its data until the PG is whole without it.
        const isWhole = pg !== undefined && pg.joining.length === 0 && pg.inSync.length > 1;
        if (!isMember && isWhole) disk.stored.delete(id);
        for (const volume of stored.keys()) {
          if (volume < map.nextVolume && !volumes.has(volume)) stored.delete(volume);
        }
      }
    }
    for (const volume of volumes.values()) {
      if (volume.attachedTo === this.node) this.#attachments.set(volume.id, volume.generation);
      else if (!this.isGatewayStuck) this.#attachments.delete(volume.id);
    }
    for (const id of this.#attachments.keys()) if (!volumes.has(id)) this.#attachments.delete(id);
  }

  #advance(): void {
    const own = new Map(this.disks.map((disk) => [disk.id, disk]));
    const wanted = new Set<string>();
    for (const pg of this.map?.pgs ?? []) {
      for (const id of pg.joining) {
        if (own.get(id)?.status !== 'serving') continue;
        const key = `${pg.id}/${id}`;
        wanted.add(key);
        const join = this.#joins.get(key) ?? { epoch: pg.epoch, reports: -1 };
        // Another epoch is another membership: what was copied stays copied.
        this.#joins.set(key, {
          epoch: pg.epoch,
          reports: join.reports + (this.isCopyStuck ? 0 : 1),
        });
      }
    }
    for (const key of this.#joins.keys()) if (!wanted.has(key)) this.#joins.delete(key);
  }

  #reportJoins(): JoinReport[] {
    return [...this.#joins].map(([key, join]) => {
      const [pg, disk] = key.split('/').map(Number) as [PgId, DiskId];
      return {
        pg,
        disk,
        epoch: join.epoch,
        totalBytes: 100,
        doneBytes: Math.min(100, (100 * join.reports) / REPORTS_PER_JOIN),
        isComplete: join.reports >= REPORTS_PER_JOIN,
        error: '',
      };
    });
  }
}

export function usedBytes(disk: SimulatedDisk): number {
  let bytes = 0;
  for (const volumes of disk.stored.values()) bytes += sum(volumes);
  return bytes;
}

function sum(values: ReadonlyMap<VolumeId, number>): number {
  let total = 0;
  for (const value of values.values()) total += value;
  return total;
}

function volumeUsage(disk: SimulatedDisk): { volume: VolumeId; disk: DiskId; bytes: number }[] {
  const bytes = new Map<VolumeId, number>();
  for (const volumes of disk.stored.values()) {
    for (const [volume, stored] of volumes) bytes.set(volume, (bytes.get(volume) ?? 0) + stored);
  }
  return [...bytes].map(([volume, total]) => ({ volume, disk: disk.id, bytes: total }));
}

function attachment(volume: VolumeId, generation: number): AttachmentReport {
  return {
    volume,
    generation,
    status: 'serving',
    reason: '',
    socketPath: `/run/v${volume}`,
    tcpUri: '',
    clientCount: 0,
    readOps: 0,
    writeOps: 0,
    readBytes: 0,
    writeBytes: 0,
    readMicros: 0,
    writeMicros: 0,
  };
}

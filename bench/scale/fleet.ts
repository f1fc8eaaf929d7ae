/**
 * Many executors as one object: what they know of the map, the copies they make, and their reports. They
 * move no bytes. All of them read the same deltas, so the joins of all are kept once.
 */
import type { DiskId, NodeId, PgId, VolumeId } from '../../shared/base/ids.ts';
import { GiB, MiB } from '../../shared/base/units.ts';
import type {
  ClusterMap,
  ClusterMapDelta,
  MapPg,
  MapVolume,
} from '../../shared/model/cluster-map.ts';
import {
  type AttachmentReport,
  EMPTY_REPORT,
  type JoinReport,
  type NodeHello,
  type NodeReport,
  type PgUsage,
  type VolumeUsage,
} from '../../shared/model/node-report.ts';

export interface FleetDisk {
  readonly id: DiskId;
  readonly uuid: string;
}

export interface FleetNode {
  readonly hostname: string;
  readonly agentId: string;
  readonly executorId: string;
  readonly disks: FleetDisk[];
  session: string | null;
  node: NodeId | null;
  mapVersion: number;
  sequence: number;
  isAlive: boolean;
  /** Where the next part of its volumes begins. */
  nextVolume: number;
}

export const DISK_BYTES = 1024 * GiB;
/** Stored bytes of one PG. */
const PG_BYTES = 512 * MiB;
/** Every disk holds parts of every volume; so many volumes are told of in one report (usage-turns.ts). */
const VOLUMES_AT_ONCE = 256;
const VOLUME_END = 0xffff_ffff;

export class Fleet {
  readonly nodes = new Map<string, FleetNode>();
  readonly #volumes: number;
  readonly #bySession = new Map<string, FleetNode>();
  readonly #byDisk = new Map<DiskId, FleetNode>();
  readonly #pgsOfDisk = new Map<DiskId, Set<PgId>>();
  readonly #members = new Map<PgId, readonly DiskId[]>();
  readonly #joins = new Map<DiskId, Map<PgId, number>>();
  readonly #attached = new Map<NodeId, Map<VolumeId, number>>();
  #version = 0;
  #sessions = 0;
  /** Messages that executors were sent, by kind. */
  readonly received = new Map<string, number>();

  constructor(volumes: number) {
    this.#volumes = volumes;
  }

  add(hostname: string, agentId: string, executorId: string): FleetNode {
    const known = this.nodes.get(hostname);
    if (known !== undefined) return known;
    const node: FleetNode = {
      hostname,
      agentId,
      executorId,
      disks: [],
      session: null,
      node: null,
      mapVersion: 0,
      sequence: 0,
      isAlive: true,
      nextVolume: 0,
    };
    this.nodes.set(hostname, node);
    return node;
  }

  addDisk(node: FleetNode, disk: FleetDisk): void {
    node.disks.push(disk);
    this.#byDisk.set(disk.id, node);
  }

  /** A new session: its hello. */
  hello(
    node: FleetNode,
    clusterId: string,
  ): { readonly session: string; readonly hello: NodeHello } {
    this.#sessions += 1;
    const session = `s${this.#sessions}`;
    if (node.session !== null) this.#bySession.delete(node.session);
    node.session = session;
    this.#bySession.set(session, node);
    const { agentId, executorId, hostname, mapVersion } = node;
    const hello = {
      clusterId,
      agentId,
      executorId,
      hostname,
      incarnation: `${hostname}/1`,
      version: '1',
      dataAddress: `${hostname}:7000`,
      grantAddress: `${hostname}:7001`,
      mapVersion,
      term: 0,
    };
    return { session, hello };
  }

  /** A new manager: nobody has a session. */
  forgetSessions(): void {
    for (const node of this.nodes.values()) node.session = null;
    this.#bySession.clear();
  }

  closed(session: string): void {
    const node = this.#bySession.get(session);
    this.#bySession.delete(session);
    if (node?.session === session) node.session = null;
  }

  note(kind: string): void {
    this.received.set(kind, (this.received.get(kind) ?? 0) + 1);
  }

  welcome(session: string, id: NodeId): void {
    const node = this.#bySession.get(session);
    if (node !== undefined) node.node = id;
  }

  takeMap(session: string, map: ClusterMap | ClusterMapDelta): void {
    const node = this.#bySession.get(session);
    if (node === undefined || !node.isAlive) return;
    node.mapVersion = map.version;
    if (map.version <= this.#version) return;
    this.#version = map.version;
    for (const pg of map.pgs) this.#takePg(pg);
    for (const volume of map.volumes) this.#takeVolume(volume);
  }

  #usage(node: FleetNode): Pick<NodeReport, 'volumeUsage' | 'volumeFrom' | 'volumeBelow'> {
    const volumeUsage: VolumeUsage[] = [];
    const volumeFrom = node.nextVolume;
    const last = Math.min(volumeFrom + VOLUMES_AT_ONCE - 1, this.#volumes);
    for (const { id } of node.disks) {
      for (let volume = Math.max(1, volumeFrom); volume <= last; volume += 1) {
        volumeUsage.push({ volume: volume as VolumeId, disk: id, bytes: 4 * MiB });
      }
    }
    const isEnd = last === this.#volumes;
    node.nextVolume = isEnd ? 0 : last + 1;
    return { volumeUsage, volumeFrom, volumeBelow: isEnd ? VOLUME_END : last + 1 };
  }

  #takePg(pg: MapPg): void {
    for (const disk of this.#members.get(pg.id) ?? []) {
      this.#pgsOfDisk.get(disk)?.delete(pg.id);
      this.#joins.get(disk)?.delete(pg.id);
    }
    this.#members.set(pg.id, [...pg.inSync, ...pg.joining]);
    for (const disk of [...pg.inSync, ...pg.joining]) {
      const pgs = this.#pgsOfDisk.get(disk);
      if (pgs === undefined) this.#pgsOfDisk.set(disk, new Set([pg.id]));
      else pgs.add(pg.id);
    }
    for (const disk of pg.joining) {
      const joins = this.#joins.get(disk);
      if (joins === undefined) this.#joins.set(disk, new Map([[pg.id, pg.epoch]]));
      else joins.set(pg.id, pg.epoch);
    }
  }

  #takeVolume(volume: MapVolume): void {
    if (volume.attachedTo === null) return;
    const volumes = this.#attached.get(volume.attachedTo);
    if (volumes === undefined) {
      this.#attached.set(volume.attachedTo, new Map([[volume.id, volume.generation]]));
    } else volumes.set(volume.id, volume.generation);
  }

  report(node: FleetNode): NodeReport {
    const joins: JoinReport[] = [];
    const pgUsage: PgUsage[] = [];
    for (const { id } of node.disks) {
      for (const pg of this.#pgsOfDisk.get(id) ?? [])
        pgUsage.push({ pg, disk: id, bytes: PG_BYTES });
      for (const [pg, epoch] of this.#joins.get(id) ?? []) {
        const bytes = { totalBytes: PG_BYTES, doneBytes: PG_BYTES };
        joins.push({ pg, disk: id, epoch, ...bytes, isComplete: true, error: '' });
      }
    }
    return {
      ...EMPTY_REPORT,
      mapVersion: node.mapVersion,
      disks: node.disks.map(({ id, uuid }) => ({
        id,
        uuid,
        status: 'serving',
        error: '',
        capacityBytes: DISK_BYTES,
        usedBytes: (this.#pgsOfDisk.get(id)?.size ?? 0) * PG_BYTES,
        path: `/data/${uuid}`,
        extentCount: 0,
        dirtyExtentCount: 0,
        checksumErrorCount: 0,
        incarnation: 1000,
      })),
      joins,
      attachments: [...(this.#attached.get(node.node ?? (0 as NodeId)) ?? [])].map(attachment),
      ...this.#usage(node),
      pgUsage,
      noticeSource: node.hostname,
      grantAgeMs: 60_000,
    };
  }
}

function attachment([volume, generation]: readonly [VolumeId, number]): AttachmentReport {
  return {
    volume,
    generation,
    status: 'serving',
    reason: '',
    socketPath: `/run/v${volume}`,
    tcpUri: '',
    clientCount: 1,
    readOps: 0,
    writeOps: 0,
    readBytes: 0,
    writeBytes: 0,
    readMicros: 0,
    writeMicros: 0,
  };
}

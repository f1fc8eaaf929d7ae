/**
 * A few nodes with one disk each on simulated disks, network and time, running the production data
 * plane, and the test as their manager: it decides every map. Nothing here chooses or repairs.
 */
import { expect } from 'chai';
import type { ExtentStore } from '../../../executor/disk/extent-store.ts';
import { openExtentStore } from '../../../executor/disk/extent-store-open.ts';
import type {
  BlockDevice,
  BlockError,
  BlockOp,
  BlockRequest,
} from '../../../executor/gateway/block-device.ts';
import type { VolumeDevice } from '../../../executor/gateway/volume-device.ts';
import { NodeDataPlane } from '../../../executor/node-data-plane.ts';
import {
  type DiskId,
  diskId,
  type NodeId,
  nodeId,
  type PgId,
  pgId,
  volumeId,
} from '../../../shared/base/ids.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT, EXTENT_BYTES } from '../../../shared/base/units.ts';
import type { ClusterMap, MapPg, MapVolume } from '../../../shared/model/cluster-map.ts';
import type { Clock, Timer } from '../../../shared/ports.ts';
import { SimulatedDisk } from '../../simulation/ports/simulated-disk.ts';
import { SimulatedNetwork } from '../../simulation/ports/simulated-network.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';

const CLUSTER = 'test-cluster';
const GiB = 1024 ** 3;
/** Scenarios set leases by hand; this is "for ever". */
const FOREVER_MS = 1e12;

/** The clock of one process: its timers die with it. */
class ProcessClock implements Clock {
  readonly #clock: VirtualClock;
  isDead = false;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }
  now(): number {
    return this.#clock.now();
  }
  wall(): number {
    return this.#clock.wall();
  }
  after(ms: number, action: () => void): Timer {
    return this.#clock.after(ms, () => {
      if (!this.isDead) action();
    });
  }
}

export interface TestNode {
  readonly id: NodeId;
  readonly disk: DiskId;
  readonly simulatedDisk: SimulatedDisk;
  plane: NodeDataPlane;
  store: ExtentStore | null;
  clock: ProcessClock;
  readonly devices: Map<number, BlockDevice>;
  urgentCount: number;
  /** How often the machine was started. */
  boots: number;
}

export class TestCluster {
  readonly clock = new VirtualClock();
  readonly random: Prng;
  readonly network: SimulatedNetwork;
  readonly nodes: TestNode[] = [];
  readonly logged: { level: string; message: string; fields: unknown }[] = [];
  map: ClusterMap;
  requestDeadlineMs = 35_000;
  forgetAfterMs = 600_000;
  leaseUntilMs = FOREVER_MS;

  constructor(seed: string) {
    this.random = new Prng(seed);
    this.network = new SimulatedNetwork(this.clock, this.random.fork('network'));
    this.map = {
      clusterId: CLUSTER,
      term: 1,
      version: 1,
      nodes: [],
      disks: [],
      pgs: [],
      volumes: [],
      nextVolume: 1,
    };
  }

  /** `pgs` placement groups, each on the given nodes (by index) in sync; one volume over all of them. */
  async start(options: {
    readonly nodes: number;
    readonly pgs: readonly (readonly number[])[];
    readonly sizeBytes: number;
    readonly attachedTo: number;
  }): Promise<void> {
    for (let index = 0; index < options.nodes; index += 1) this.#addNode(index);
    for (const node of this.nodes) await this.startProcess(node);
    const nodes = this.nodes.map((node) => ({
      id: node.id,
      hostname: `host${node.id}`,
      zone: null,
      dataAddress: `host${node.id}:7400`,
      grantAddress: null,
      isFenced: false,
    }));
    const disks = this.nodes.map((node) => ({ id: node.disk, node: node.id, uuid: `u${node.id}` }));
    const pgs = options.pgs.map((members, index) => ({
      id: pgId(index + 1),
      epoch: 1,
      inSync: members.map((member) => this.disk(member)),
      joining: [],
      minInSync: 1,
      target: members.map((member) => this.disk(member)),
    }));
    const volume: MapVolume = {
      id: volumeId(1),
      name: 'vol',
      sizeBytes: options.sizeBytes,
      pgBase: 1,
      pgCount: pgs.length,
      pgOffset: 0,
      pgStride: 1,
      layer: 0,
      generation: 1,
      attachedTo: this.nodes[options.attachedTo]?.id ?? null,
      isFull: false,
      durability: 'flush',
    };
    this.setMap({ nodes, disks, pgs, volumes: [volume], nextVolume: 2 });
    await this.until('the volume is being served', () => {
      const device = this.findDevice(options.attachedTo);
      return device !== null && device.status === 'serving';
    });
  }

  disk(index: number): DiskId {
    return (this.nodes[index] as TestNode).disk;
  }

  node(index: number): TestNode {
    return this.nodes[index] as TestNode;
  }

  findDevice(index: number): VolumeDevice | null {
    return this.node(index).plane.attachments?.find(volumeId(1)) ?? null;
  }

  device(index: number): VolumeDevice {
    const device = this.findDevice(index);
    expect(device, `node ${index} has a gateway`).to.not.equal(null);
    return device as VolumeDevice;
  }

  /** The next version of the map, to all nodes (or only to `nodes`). */
  setMap(change: Partial<ClusterMap>, nodes: readonly number[] | null = null): void {
    this.map = { ...this.map, ...change, version: this.map.version + 1 };
    this.sendMap(nodes);
  }

  sendMap(nodes: readonly number[] | null = null): void {
    const to = nodes === null ? this.nodes : nodes.map((index) => this.node(index));
    for (const node of to) node.plane.applyMap(this.map, node.id);
  }

  /** Epoch + 1 with these members, by node index. */
  setPg(
    id: number,
    inSync: readonly number[],
    joining: readonly number[] = [],
    to: readonly number[] | null = null,
  ): void {
    const pgs = this.map.pgs.map((pg): MapPg => {
      if (pg.id !== id) return pg;
      return {
        ...pg,
        epoch: pg.epoch + 1,
        inSync: inSync.map((index) => this.disk(index)),
        joining: joining.map((index) => this.disk(index)),
        // A join says where the plan wants the PG; a loss does not change the plan by itself.
        ...(joining.length === 0
          ? {}
          : { target: [...inSync, ...joining].map((index) => this.disk(index)) }),
      };
    });
    this.setMap({ pgs }, to);
  }

  attach(index: number | null): void {
    const volumes = this.map.volumes.map((volume) => ({
      ...volume,
      generation: index === null ? volume.generation : volume.generation + 1,
      attachedTo: index === null ? null : this.node(index).id,
    }));
    this.setMap({ volumes });
  }

  async startProcess(node: TestNode): Promise<void> {
    node.clock = new ProcessClock(this.clock);
    node.devices.clear();
    const log = (level: string, message: string, fields: unknown = {}): void => {
      this.logged.push({ level, message, fields });
    };
    node.plane = new NodeDataPlane(
      {
        clusterId: CLUSTER,
        incarnation: `run-${this.clock.now()}`,
        listenAddress: `host${node.id}:7400`,
        requestDeadlineMs: this.requestDeadlineMs,
        forgetAfterMs: this.forgetAfterMs,
      },
      {
        clock: node.clock,
        log,
        network: this.network.host(`host${node.id}`),
        openStore: async (assignment) => {
          const store = await openExtentStore(
            {
              clusterId: CLUSTER,
              diskId: assignment.id,
              uuid: assignment.uuid,
              capacityBytes: assignment.capacityBytes,
              create: true,
              bootId: `boot ${node.boots}`,
            },
            { disk: node.simulatedDisk, clock: node.clock, log },
          );
          node.store = store;
          return store;
        },
        startExport: async (volume, device) => {
          node.devices.set(volume.id, device);
          return {
            socketPath: `/run/${volume.name}`,
            tcpUri: '',
            clientCount: () => 0,
            stop: async () => {
              node.devices.delete(volume.id);
            },
          };
        },
        resources: () => ({ cpuSeconds: 0, memoryBytes: 0 }),
      },
    );
    node.plane.onUrgent(() => {
      node.urgentCount += 1;
    });
    await node.plane.listen();
    node.plane.addDisk({
      id: node.disk,
      uuid: `u${node.id}`,
      path: `/disk${node.id}`,
      capacityBytes: GiB,
    });
    node.plane.extendLease(this.leaseUntilMs);
    if (this.map.version > 1) node.plane.applyMap(this.map, node.id);
  }

  /** The process is gone, its page cache is not; with `power`, neither is the rest. */
  crash(index: number, kind: 'process' | 'power' = 'process'): void {
    const node = this.node(index);
    node.clock.isDead = true;
    if (kind === 'power') node.boots += 1;
    this.network.host(`host${node.id}`).crash(kind === 'power');
    node.simulatedDisk.crash(kind);
    node.store = null;
  }

  /** Lets time pass until the condition holds. */
  async until(what: string, condition: () => boolean, limitMs = 60_000): Promise<void> {
    const isOver = await this.clock.runWhile(() => !condition(), limitMs);
    expect(isOver, `${what} within ${limitMs} ms`).to.equal(true);
  }

  /** Runs until the promise settles. */
  async run<T>(what: string, promise: Promise<T>, limitMs = 60_000): Promise<T> {
    let isSettled = false;
    const watched = promise.finally(() => {
      isSettled = true;
    });
    watched.catch(() => undefined);
    await this.until(what, () => isSettled, limitMs);
    return watched;
  }

  #addNode(index: number): void {
    const simulatedDisk = new SimulatedDisk(
      { path: `/disk${index + 1}`, totalBytes: Number.MAX_SAFE_INTEGER, latencyMs: 0.2 },
      this.clock,
      this.random.fork(`disk${index}`),
    );
    this.nodes.push({
      id: nodeId(index + 1),
      disk: diskId(index + 1),
      simulatedDisk,
      plane: null as unknown as NodeDataPlane,
      store: null,
      clock: new ProcessClock(this.clock),
      devices: new Map(),
      urgentCount: 0,
      boots: 1,
    });
  }
}

export interface Outcome {
  readonly error: BlockError | null;
  readonly data: Buffer | null;
  readonly request: BlockRequest;
}

/** One request as a promise. */
export function submit(
  device: BlockDevice,
  op: BlockOp,
  offset: number,
  length: number,
  more: Partial<Pick<BlockRequest, 'data' | 'isDurable' | 'mayUnmap'>> = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    device.submit({
      op,
      offset,
      length,
      isDurable: more.isDurable ?? false,
      mayUnmap: more.mayUnmap ?? false,
      data: more.data ?? null,
      statuses: null,
      error: null,
      onDone: (request) => resolve({ error: request.error, data: request.data, request }),
    });
  });
}

export function bytes(length: number, seed: number): Buffer {
  return Buffer.from(new Prng(seed).bytes(length));
}

/** What one replica holds of an extent, as its readers would see it; absent extents are zeros. */
export async function contentsOf(
  cluster: TestCluster,
  index: number,
  extent: number,
): Promise<Buffer> {
  const { store } = cluster.node(index);
  expect(store, `node ${index} has an open store`).to.not.equal(null);
  const data = Buffer.alloc(EXTENT_BYTES);
  const checksums = Buffer.alloc(BLOCKS_PER_EXTENT * 4);
  const request = {
    volume: 1,
    layer: 0,
    extent,
    block: 0,
    count: EXTENT_BYTES / BLOCK_BYTES,
    data,
    checksums,
    verify: true,
  };
  const status = await cluster.run(
    `reading extent ${extent} of node ${index}`,
    new Promise<number>((resolve) => {
      (store as ExtentStore).read(request, (result) => resolve(result));
    }),
  );
  expect(status, `reading extent ${extent} of node ${index}`).to.equal(0);
  return data;
}

export function pgOf(cluster: TestCluster, id: number): MapPg {
  return cluster.map.pgs.find((pg) => pg.id === (id as PgId)) as MapPg;
}

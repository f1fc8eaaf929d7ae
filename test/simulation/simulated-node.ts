/**
 * One machine of the cluster: disks that outlive everything, a Mesos agent, and at most one container per
 * executor id with the production executor, node agent and data plane inside.
 */

import type { DataMemory } from '../../executor/data-plane.ts';
import type { StoreTuning } from '../../executor/disk/store-types.ts';
import { Executor } from '../../executor/executor.ts';
import { NodeAgent } from '../../executor/node-agent.ts';
import { MapKeeper } from '../../executor/node-map-keeper.ts';
import { present } from '../../shared/base/assert.ts';
import type { NodeId } from '../../shared/base/ids.ts';
import type { Prng } from '../../shared/base/prng.ts';
import { MiB } from '../../shared/base/units.ts';
import type { Resource, TaskInfo } from '../../shared/mesos/messages.ts';
import { mapMessage } from '../../shared/model/control.ts';
import { mount, path, scalar } from '../unit/offers/agent-model.ts';
import type { ClusterWatch } from './checkers/cluster-watch.ts';
import { mapCodec } from './checkers/map-codec.ts';
import { observeDialer } from './checkers/observed-ports.ts';
import type { ContainerHooks, ContainerReporter } from './mesos/simulated-agent.ts';
import type { SimulatedMesos } from './mesos/simulated-mesos.ts';
import { MachineClock } from './ports/machine-clock.ts';
import { ProcessClock } from './ports/process-clock.ts';
import type { SimulatedControl } from './ports/simulated-control.ts';
import { SimulatedDisk } from './ports/simulated-disk.ts';
import type { SimulatedNetwork } from './ports/simulated-network.ts';
import type { VirtualClock } from './ports/virtual-clock.ts';
import { type ServedVolume, SimulatedDataProcess } from './simulated-data-process.ts';
import type { Trace } from './trace.ts';

export interface NodeModules {
  readonly clock: VirtualClock;
  readonly random: Prng;
  readonly network: SimulatedNetwork;
  readonly control: SimulatedControl;
  readonly mesos: SimulatedMesos;
  readonly trace: Trace;
  readonly watch: ClusterWatch;
}

export interface NodeOptions {
  readonly host: string;
  /** Its fault domain, as Mesos names it; null for none. */
  readonly zone: string | null;
  readonly tuning: Partial<StoreTuning>;
  readonly diskCount: number;
  readonly diskMiB: number;
  readonly areDisksShared: boolean;
  readonly diskLatencyMs: number;
  /** How fast the machine's clock runs against simulated time. */
  readonly clockRate: number;
}

const GRANT_PORT = 7300;
const REPORT_MS = 1_000;
const REDIAL_MIN_MS = 100;
const REDIAL_MAX_MS = 1_000;

export class SimulatedNode {
  readonly host: string;
  readonly disks = new Map<string, SimulatedDisk>();
  /** Ids of the agents that this machine, with the data it has now, has had. */
  readonly agentIds = new Set<string>();
  readonly #options: NodeOptions;
  readonly #modules: NodeModules;
  readonly clock: MachineClock;
  #container: Container | null = null;
  #isPowered = true;
  #incarnations = 0;
  #boots = 1;

  constructor(options: NodeOptions, modules: NodeModules) {
    this.host = options.host;
    this.#options = options;
    this.#modules = modules;
    this.clock = new MachineClock(modules.clock, options.clockRate);
    const resources: Resource[] = [scalar('cpus', 4), scalar('mem', 8192)];
    for (let index = 0; index < options.diskCount; index += 1) {
      const root = `/mnt/${options.host}-${index}`;
      const make = options.areDisksShared ? path : mount;
      resources.push(make(root, options.diskMiB));
      this.disks.set(root, this.#makeDisk(root));
    }
    modules.mesos.addAgent({ hostname: options.host, zone: options.zone }, resources, this);
    this.#noteAgent();
  }

  get bootId(): string {
    return `${this.host}/${this.#boots}`;
  }

  get isPowered(): boolean {
    return this.#isPowered;
  }

  /** Null while no data process runs. */
  get dataProcess(): SimulatedDataProcess | null {
    return this.#container?.dataProcess ?? null;
  }

  findServed(volume: number): ServedVolume | null {
    return this.dataProcess?.served.get(volume) ?? null;
  }

  /** What the executor remembers, as it would tell a recovery; null while none runs. */
  async recall(): Promise<NodeRecollection | null> {
    return (await this.#container?.recall()) ?? null;
  }

  startContainer(executorId: string, reporter: ContainerReporter): ContainerHooks {
    this.#incarnations += 1;
    this.#modules.trace.add(this.host, `+ container ${executorId}`);
    this.#container?.destroy(false);
    const container = new Container(
      { node: this, executorId, incarnation: `${this.host}.${this.#incarnations}` },
      this.#options,
      this.#modules,
      reporter,
    );
    this.#container = container;
    return container;
  }

  /** The executor's process is stopped, its data process is not. */
  stopExecutor(): void {
    this.#modules.trace.add(this.host, '! executor is stopped');
    this.#container?.clock.stop();
  }

  stopDataProcess(): void {
    this.#modules.trace.add(this.host, '! data process is stopped');
    this.dataProcess?.stop();
  }

  /** Whatever is stopped goes on. */
  goOn(): void {
    this.#modules.trace.add(this.host, '! processes go on');
    this.#container?.clock.goOn();
    this.dataProcess?.goOn();
  }

  crashDataProcess(): void {
    this.#modules.trace.add(this.host, '! data process crashes');
    this.dataProcess?.crash();
  }

  crashExecutor(): void {
    this.#modules.trace.add(this.host, '! executor crashes');
    this.#container?.destroy(false);
  }

  losePower(): void {
    if (!this.#isPowered) return;
    this.#modules.trace.add(this.host, '! power is lost');
    this.#isPowered = false;
    this.#boots += 1;
    this.#container?.destroy(true);
    this.#container = null;
    this.#modules.network.host(this.host).crash(true);
    for (const disk of this.disks.values()) disk.crash('power');
  }

  restorePower(): void {
    if (this.#isPowered) return;
    this.#modules.trace.add(this.host, '! power is back');
    this.#isPowered = true;
    this.#modules.network.host(this.host).isUp = true;
    this.#modules.mesos.bootAgent(this.host);
  }

  /** Another machine in its place: empty disks, and an agent that knows nothing. */
  replaceMachine(): void {
    this.losePower();
    this.#modules.trace.add(this.host, '! the machine is replaced');
    this.#emptyDisks();
    this.#beginAnew(true);
  }

  /** Its agent begins anew; `isWiped`: without its work directory. What lies on MOUNT disks stays there. */
  renewAgent(isWiped: boolean): void {
    this.#beginAnew(isWiped);
  }

  #beginAnew(isWiped: boolean): void {
    this.#modules.mesos.renewAgent(this.host, isWiped);
    this.#noteAgent();
  }

  /** Volumes of former agents are not there any more. */
  #emptyDisks(): void {
    for (const path of this.disks.keys()) this.disks.set(path, this.#makeDisk(path));
    this.agentIds.clear();
  }

  #noteAgent(): void {
    this.agentIds.add(present(this.#modules.mesos.agentOf(this.host), this.host).agentId);
  }

  #makeDisk(path: string): SimulatedDisk {
    const { clock, random } = this.#modules;
    const { diskMiB, diskLatencyMs } = this.#options;
    return new SimulatedDisk(
      { path, totalBytes: diskMiB * MiB, latencyMs: diskLatencyMs },
      clock,
      random.fork(path),
    );
  }
}

/** `record`: the map in memory; `map`: the newest on the disks. Both as kept. */
export interface NodeRecollection extends DataMemory {
  readonly clusterId: string;
  readonly node: NodeId;
  readonly record: Uint8Array | null;
}

interface ContainerPlace {
  readonly node: SimulatedNode;
  readonly executorId: string;
  readonly incarnation: string;
}

/** The executor's container: everything in it dies together. */
class Container implements ContainerHooks {
  dataProcess: SimulatedDataProcess | null = null;
  readonly #place: ContainerPlace;
  readonly #options: NodeOptions;
  readonly #modules: NodeModules;
  readonly #reporter: ContainerReporter;
  readonly clock: ProcessClock;
  readonly #executor: Executor;
  /** Where Mesos put the persistent volumes: container path to the root of the device. */
  readonly #volumes = new Map<string, string>();
  readonly #stopGrants: () => void;
  #isOver = false;
  #remembered: {
    readonly clusterId: string;
    readonly node: NodeId;
    readonly keeper: MapKeeper;
  } | null = null;

  constructor(
    place: ContainerPlace,
    options: NodeOptions,
    modules: NodeModules,
    reporter: ContainerReporter,
  ) {
    this.#place = place;
    this.#options = options;
    this.#modules = modules;
    this.#reporter = reporter;
    this.clock = new ProcessClock(place.node.clock);
    this.#executor = new Executor({
      clock: this.clock,
      log: modules.trace.log(options.host),
      reporter: {
        update: (taskId, state, { message }) => {
          if (!this.#isOver) reporter.update(taskId, state, message);
        },
        sendMessage: (data) => {
          if (!this.#isOver) reporter.sendMessage(data);
        },
      },
      createNode: (clusterId, node) => this.#createNode(clusterId, node),
      resolveVolume: (path) => present(this.#volumes.get(path), `volume ${path}`),
      onFinished: () => this.destroy(),
    });
    const grantAddress = `${options.host}:${GRANT_PORT}`;
    this.#stopGrants = modules.control.serveGrants(
      grantAddress,
      this.clock,
      (request) => {
        const agent = this.#executor.parts?.agent;
        if (agent !== undefined) return agent.handleGrant(request);
        const reason = 'this node has no disks yet';
        return { isGranted: false, reason, mapVersion: 0, node: 0 as NodeId };
      },
      (announcement) => this.#executor.onAnnouncement(announcement),
    );
  }

  async recall(): Promise<NodeRecollection | null> {
    const remembered = this.#remembered;
    const memory = await this.dataProcess?.recall();
    if (remembered === null || memory === undefined || memory === null) return null;
    const { clusterId, node, keeper } = remembered;
    return { ...memory, clusterId, node, record: keeper.record() };
  }

  launch(task: TaskInfo): void {
    if (this.#isOver) return;
    for (const { disk } of task.resources ?? []) {
      const root = disk?.source?.mount?.root ?? disk?.source?.path?.root;
      if (disk?.volume !== undefined && root !== undefined) {
        this.#volumes.set(disk.volume.container_path, root);
      }
    }
    this.clock.whenRunning(() => this.#executor.onLaunch(task));
  }

  kill(taskId: string): void {
    if (this.#isOver) return;
    this.clock.whenRunning(() => this.#executor.onKill(taskId));
  }

  message(data: Buffer): void {
    if (this.#isOver) return;
    this.clock.whenRunning(() => this.#executor.onMessage(data));
  }

  shutdown(): void {
    if (this.#isOver) return;
    this.clock.whenRunning(() => void this.#executor.shutdown('the agent asked for it'));
  }

  destroy(isSilent = false): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.clock.kill();
    this.#stopGrants();
    this.dataProcess?.destroy();
    this.dataProcess = null;
    this.#modules.control.crashHost(this.#options.host, isSilent);
    this.#modules.trace.add(this.#options.host, `- container ${this.#place.executorId}`);
    if (!isSilent) this.#reporter.onEnded();
  }

  #createNode(
    clusterId: string,
    node: NodeId,
  ): { agent: NodeAgent; dataPlane: SimulatedDataProcess } {
    const { control, network, trace, mesos, watch } = this.#modules;
    const { host } = this.#options;
    const log = trace.log(host);
    const dataPlane = new SimulatedDataProcess(host, clusterId, this.clock, {
      clock: this.#place.node.clock,
      tuning: this.#options.tuning,
      network,
      trace,
      watch,
      findDisk: (path) => present(this.#place.node.disks.get(path), path),
      bootId: () => this.#place.node.bootId,
      currentMap: () => agent.map,
      onListening: () => agent.onDataAddressChanged(),
      onCrash: () => {
        // Dead already when the machine lost its power: then the disks do worse.
        if (!this.#place.node.isPowered) return;
        network.host(host).crash(false);
        for (const disk of this.#place.node.disks.values()) disk.crash('process');
      },
      onStopped: (isStopped) => {
        if (isStopped) network.host(host).stop();
        else network.host(host).goOn();
        for (const disk of this.#place.node.disks.values()) {
          if (isStopped) disk.stall();
          else disk.resume();
        }
      },
    });
    const keeper = new MapKeeper({
      clock: this.clock,
      encode: (map, facts) => mapCodec().encodeManagerMessage(mapMessage(map, facts)),
      keep: (record) => dataPlane.keepMap(record),
    });
    const agent = new NodeAgent(
      {
        hello: {
          clusterId,
          agentId: present(mesos.agentOf(host), host).agentId,
          executorId: this.#place.executorId,
          hostname: host,
          incarnation: this.#place.incarnation,
          version: 'simulated',
          grantAddress: `${host}:${GRANT_PORT}`,
        },
        reportIntervalMs: REPORT_MS,
        redialMinMs: REDIAL_MIN_MS,
        redialMaxMs: REDIAL_MAX_MS,
      },
      {
        clock: this.clock,
        log,
        dialer: observeDialer(
          control.dialer(host, this.clock),
          host,
          this.#modules.clock,
          watch.leases,
        ),
        dataPlane,
        dataAddress: () => dataPlane.dataAddress,
        onManagerMissing: () => this.#executor.askForManager(),
        onMap: (map, facts) => keeper.note(map, facts),
      },
    );
    this.#remembered = { clusterId, node, keeper };
    this.dataProcess = dataPlane;
    dataPlane.start();
    trace.add(host, `+ node n${node}`);
    return { agent, dataPlane };
  }
}

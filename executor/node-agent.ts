/**
 * The node's side of the control link: says hello, reports every second, keeps the lease and the last
 * map, and asks the peers for grants while the manager is away (DESIGN 5). Logic on ports: the
 * simulator runs it as it is.
 *
 * A lease counts from the moment a report (or a request for grants) was *sent*, on the monotonic clock: the
 * manager counts from a later moment, so the node always stops before the manager believes so.
 */
import { assert } from '../shared/base/assert.ts';
import type { NodeId } from '../shared/base/ids.ts';
import type { ClusterMap, ClusterMapDelta } from '../shared/model/cluster-map.ts';
import { applyDelta } from '../shared/model/cluster-map.ts';
import type {
  ClusterFact,
  GrantReply,
  GrantRequest,
  ManagerMessage,
  NodeMessage,
} from '../shared/model/control.ts';
import {
  CONTROL_PROTOCOL,
  CONTROL_PROTOCOL_OLDEST,
  type NodeHello,
} from '../shared/model/node-report.ts';
import type { Clock, Log, Timer } from '../shared/ports.ts';
import type { DataPlane } from './data-plane.ts';

export interface ControlLink {
  send(message: NodeMessage): void;
  close(reason: string): void;
}

export interface ControlLinkHandlers {
  onMessage(message: ManagerMessage): void;
  /** Exactly once, also after `close`. */
  onClose(reason: string): void;
}

/** Opens control links and asks peers for grants: gRPC in production. */
export interface ControlDialer {
  /** Failure to connect comes as `onClose`. */
  connect(address: string, handlers: ControlLinkHandlers): ControlLink;
  /** `null`: no answer within `timeoutMs`. */
  askGrant(
    address: string,
    request: GrantRequest,
    timeoutMs: number,
    done: (reply: GrantReply | null) => void,
  ): void;
}

export interface NodeAgentOptions {
  readonly hello: Omit<NodeHello, 'mapVersion' | 'term' | 'dataAddress'>;
  /** Reports, and while the manager is away requests for grants, leave at this pace: 1000. */
  readonly reportIntervalMs: number;
  /** First and largest wait before a further attempt to connect. */
  readonly redialMinMs: number;
  readonly redialMaxMs: number;
}

export interface NodeAgentModules {
  readonly clock: Clock;
  readonly log: Log;
  readonly dialer: ControlDialer;
  readonly dataPlane: DataPlane;
  /** `host:port` of the data process right now; null until it listens. */
  dataAddress(): string | null;
  /** The manager does not answer at the known address: ask Mesos for another. */
  onManagerMissing(): void;
  /**
   * A new map was applied: keep it (DESIGN 5, last paragraph), with the facts that came beside it. The
   * facts are the agent's own and change with the next map: whoever needs them later copies them.
   */
  onMap(map: ClusterMap, facts: ReadonlyMap<string, string>): void;
}

/** Reports in flight whose lease may still come; older ones are forgotten. */
const SENT_REPORTS_MAX = 16;
/** Ask Mesos for the manager's address at most this often. */
const MISSING_INTERVAL_MS = 5_000;
/** A link that carries no lease for so long is dead, whatever TCP says. */
const SILENT_LINK_MS = 5_000;
/** Wait between an urgent change and the report about it: several changes of one moment go together. */
const URGENT_DELAY_MS = 5;

export class NodeAgent {
  readonly #options: NodeAgentOptions;
  readonly #modules: NodeAgentModules;
  #address: string | null = null;
  #link: ControlLink | null = null;
  #linkSinceMs = 0;
  #isWelcome = false;
  #node: NodeId | null = null;
  #term = 0;
  #leaseMs = 0;
  #leaseUntilMs = Number.NEGATIVE_INFINITY;
  #lastLeaseAtMs = Number.NEGATIVE_INFINITY;
  #lastMissingAtMs = Number.NEGATIVE_INFINITY;
  #map: ClusterMap | null = null;
  readonly #facts = new Map<string, string>();
  #sequence = 0;
  readonly #sentAtMs = new Map<number, number>();
  #redialMs: number;
  #redialTimer: Timer | null = null;
  #beatTimer: Timer | null = null;
  #urgentTimer: Timer | null = null;
  #isClosed = false;
  /** When a peer was granted a lease the last time; an executor before this one may have until it died. */
  #grantedAtMs: number;

  constructor(options: NodeAgentOptions, modules: NodeAgentModules) {
    this.#options = options;
    this.#modules = modules;
    this.#redialMs = options.redialMinMs;
    this.#grantedAtMs = modules.clock.now();
    modules.dataPlane.onUrgent(() => this.#reportSoon());
  }

  get map(): ClusterMap | null {
    return this.#map;
  }

  get node(): NodeId | null {
    return this.#node;
  }

  get isConnected(): boolean {
    return this.#isWelcome;
  }

  /** Begins with the last map this node knew (null: none); call once. */
  start(map: ClusterMap | null, self: NodeId | null): void {
    if (map !== null && self !== null && this.#modules.dataPlane.applyMap(map, self)) {
      this.#map = map;
      this.#node = self;
      this.#term = map.term;
    }
    this.#beat();
  }

  /**
   * Where the manager is; hints with a lower term than the highest seen are ignored. From a higher one on
   * the word of every earlier manager counts no more, also on a link that is still open.
   */
  setManager(address: string, term: number): void {
    if (term < this.#term || this.#isClosed) return;
    this.#term = term;
    if (address === this.#address && this.#link !== null) return;
    this.#address = address;
    this.#link?.close('the manager has moved');
    this.#redialMs = this.#options.redialMinMs;
    this.#dial();
  }

  /** The data process has a new address: the manager must hear it. */
  onDataAddressChanged(): void {
    this.#link?.close('the data address has changed');
  }

  handleGrant(request: GrantRequest): GrantReply {
    const reason = this.#refuseGrant(request);
    if (reason === '') this.#grantedAtMs = this.#modules.clock.now();
    return {
      isGranted: reason === '',
      reason,
      mapVersion: this.#map?.version ?? 0,
      node: this.#node ?? (0 as NodeId),
    };
  }

  close(): void {
    this.#isClosed = true;
    this.#beatTimer?.cancel();
    this.#redialTimer?.cancel();
    this.#urgentTimer?.cancel();
    this.#link?.close('the executor is stopping');
  }

  // ── The link ───────────────────────────────────────────────────────────────────────────────

  #dial(): void {
    this.#redialTimer?.cancel();
    this.#redialTimer = null;
    const dataAddress = this.#modules.dataAddress();
    if (this.#isClosed || this.#link !== null || this.#address === null) return;
    if (dataAddress === null) {
      this.#redialLater();
      return;
    }
    const { clock, dialer } = this.#modules;
    this.#linkSinceMs = clock.now();
    const link = dialer.connect(this.#address, {
      onMessage: (message) => {
        if (this.#link === link) this.#onMessage(message);
      },
      onClose: (reason) => {
        if (this.#link === link) this.#onLinkClosed(reason);
      },
    });
    this.#link = link;
    link.send({
      kind: 'hello',
      hello: {
        ...this.#options.hello,
        dataAddress,
        mapVersion: this.#map?.version ?? 0,
        term: this.#term,
        protocol: CONTROL_PROTOCOL,
        oldestProtocol: CONTROL_PROTOCOL_OLDEST,
      },
    });
  }

  #onLinkClosed(reason: string): void {
    const { log } = this.#modules;
    log(this.#isWelcome ? 'warn' : 'debug', 'Control session closed', {
      reason,
      address: this.#address ?? '',
    });
    this.#link = null;
    this.#isWelcome = false;
    this.#sentAtMs.clear();
    if (!this.#isClosed) this.#redialLater();
  }

  #redialLater(): void {
    if (this.#redialTimer !== null) return;
    const waitMs = this.#redialMs;
    this.#redialMs = Math.min(this.#redialMs * 2, this.#options.redialMaxMs);
    this.#redialTimer = this.#modules.clock.after(waitMs, () => this.#dial());
  }

  #onMessage(message: ManagerMessage): void {
    const { log } = this.#modules;
    const term =
      message.kind === 'map'
        ? message.map.term
        : message.kind === 'delta'
          ? message.delta.term
          : message.term;
    if (term < this.#term) {
      log('warn', 'Manager with a lower term refused', { term, seen: this.#term });
      this.#link?.close(`term ${term} is below ${this.#term}`);
      return;
    }
    // Who refuses us may be the scheduler of another cluster, at an address that was our manager's.
    if (message.kind !== 'refusal') this.#term = term;
    switch (message.kind) {
      case 'welcome':
        this.#onWelcome(message);
        break;
      case 'refusal':
        log('warn', 'Manager refused this node', { reason: message.reason });
        this.#redialMs = this.#options.redialMaxMs;
        this.#link?.close(`refused: ${message.reason}`);
        break;
      case 'lease':
        this.#onLease(message.sequence, message.durationMs);
        break;
      case 'scrubs':
        this.#modules.dataPlane.setScrubs(message.orders);
        break;
      case 'map':
        this.#adoptMap(message.map, message.map, message.facts);
        break;
      case 'delta':
        if (this.#map === null || this.#map.version !== message.delta.fromVersion) {
          // A gap: only a new session brings a full map.
          this.#link?.close(`map delta from ${message.delta.fromVersion} does not fit`);
        } else {
          this.#adoptMap(applyDelta(this.#map, message.delta), message.delta, message.facts);
        }
        break;
    }
  }

  #onWelcome(message: Extract<ManagerMessage, { kind: 'welcome' }>): void {
    const { clock, dataPlane, log } = this.#modules;
    this.#node = message.node;
    this.#leaseMs = message.leaseMs;
    this.#isWelcome = true;
    this.#lastLeaseAtMs = clock.now();
    this.#redialMs = this.#options.redialMinMs;
    dataPlane.setLimits({
      resyncBytesPerSecond: message.resyncBytesPerSecond,
      concurrentJoins: message.concurrentJoins,
    });
    log('info', 'Control session open', { node: message.node, term: message.term });
  }

  #onLease(sequence: number, durationMs: number): void {
    const sentAtMs = this.#sentAtMs.get(sequence);
    if (sentAtMs === undefined) return;
    for (const other of this.#sentAtMs.keys()) if (other <= sequence) this.#sentAtMs.delete(other);
    this.#lastLeaseAtMs = this.#modules.clock.now();
    this.#extendLease(sentAtMs + durationMs);
  }

  #extendLease(untilMs: number): void {
    if (untilMs <= this.#leaseUntilMs) return;
    this.#leaseUntilMs = untilMs;
    this.#modules.dataPlane.extendLease(untilMs);
  }

  /** `change` is what came: the data plane has the rest. */
  #adoptMap(
    map: ClusterMap,
    change: ClusterMap | ClusterMapDelta,
    facts: readonly ClusterFact[] = [],
  ): void {
    assert(this.#node !== null, 'a map comes after the welcome');
    if (this.#map !== null && map.version < this.#map.version) {
      this.#link?.close(`map ${map.version} is older than ${this.#map.version}`);
      return;
    }
    this.#map = map;
    this.#modules.dataPlane.applyMap(change, this.#node);
    if (!('fromVersion' in change)) this.#facts.clear();
    for (const { key, value } of facts) {
      if (value === null) this.#facts.delete(key);
      else this.#facts.set(key, value);
    }
    this.#modules.onMap(map, this.#facts);
    this.#reportSoon();
  }

  // ── Reports, leases, grants ────────────────────────────────────────────────────────────────

  #beat(): void {
    if (this.#isClosed) return;
    const { clock } = this.#modules;
    this.#beatTimer = clock.after(this.#options.reportIntervalMs, () => this.#beat());
    const nowMs = clock.now();
    if (this.#isWelcome) {
      this.#report();
      if (nowMs - this.#lastLeaseAtMs > SILENT_LINK_MS) this.#link?.close('no lease came');
    } else if (this.#link !== null && nowMs - this.#linkSinceMs > SILENT_LINK_MS) {
      this.#link.close('no welcome came');
    }
    if (nowMs - this.#lastLeaseAtMs > 1.5 * this.#options.reportIntervalMs) this.#onManagerSilent();
  }

  #reportSoon(): void {
    if (this.#urgentTimer !== null || !this.#isWelcome || this.#isClosed) return;
    this.#urgentTimer = this.#modules.clock.after(URGENT_DELAY_MS, () => {
      this.#urgentTimer = null;
      if (this.#isWelcome) this.#report();
    });
  }

  #report(): void {
    this.#sequence += 1;
    this.#sentAtMs.set(this.#sequence, this.#modules.clock.now());
    if (this.#sentAtMs.size > SENT_REPORTS_MAX) {
      const oldest = this.#sentAtMs.keys().next();
      if (oldest.done !== true) this.#sentAtMs.delete(oldest.value);
    }
    const nowMs = this.#modules.clock.now();
    const grantAgeMs = Math.max(0, Math.floor(nowMs - this.#grantedAtMs));
    const report = { ...this.#modules.dataPlane.report(), grantAgeMs };
    this.#link?.send({ kind: 'report', sequence: this.#sequence, report });
  }

  #onManagerSilent(): void {
    const { clock } = this.#modules;
    const nowMs = clock.now();
    if (nowMs - this.#lastMissingAtMs > MISSING_INTERVAL_MS) {
      this.#lastMissingAtMs = nowMs;
      this.#modules.onManagerMissing();
    }
    this.#askPeers(nowMs);
  }

  /** Grants of a majority of all registered nodes, this one included, are worth one lease. */
  #askPeers(sentAtMs: number): void {
    const map = this.#map;
    const self = this.#node;
    if (map === null || self === null || map.nodes.length < 3 || this.#leaseMs === 0) return;
    const own = map.nodes.find((node) => node.id === self);
    if (own === undefined || own.isFenced) return;
    const majority = Math.floor(map.nodes.length / 2) + 1;
    let granted = 1;
    const request: GrantRequest = {
      clusterId: map.clusterId,
      node: self,
      term: this.#term,
      mapVersion: map.version,
    };
    for (const peer of map.nodes) {
      if (peer.id === self || peer.grantAddress === null) continue;
      this.#modules.dialer.askGrant(
        peer.grantAddress,
        request,
        this.#options.reportIntervalMs,
        (reply) => {
          if (reply?.isGranted !== true || this.#isClosed) return;
          granted += 1;
          if (granted >= majority) this.#extendLease(sentAtMs + this.#leaseMs);
        },
      );
    }
  }

  #refuseGrant(request: GrantRequest): string {
    const map = this.#map;
    if (map === null) return 'this node has no map yet';
    if (request.clusterId !== map.clusterId) return `this is cluster ${map.clusterId}`;
    const asker = map.nodes.find((node) => node.id === request.node);
    if (asker === undefined) return `node n${request.node} is not registered`;
    if (asker.isFenced) return `node n${request.node} is fenced since map version ${map.version}`;
    return '';
  }
}

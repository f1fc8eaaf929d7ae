/** The node's side of the control link on virtual time: leases, grants, terms, maps, reconnects. */
import { expect } from 'chai';
import type { BackgroundLimits, DataPlane } from '../../../executor/data-plane.ts';
import {
  type ControlDialer,
  type ControlLinkHandlers,
  NodeAgent,
} from '../../../executor/node-agent.ts';
import { nodeId } from '../../../shared/base/ids.ts';
import type { ClusterMap, MapNode } from '../../../shared/model/cluster-map.ts';
import type {
  GrantReply,
  GrantRequest,
  ManagerMessage,
  NodeMessage,
} from '../../../shared/model/control.ts';
import { EMPTY_REPORT, type NodeReport } from '../../../shared/model/node-report.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';

const LEASE_MS = 4_000;

/** Remembers what the agent told it: the data plane as the agent sees it. */
class RecordingPlane implements DataPlane {
  leaseUntilMs = Number.NEGATIVE_INFINITY;
  mapVersions: number[] = [];
  limits: BackgroundLimits | null = null;
  urgent: () => void = () => undefined;

  addDisk(): void {
    throw new Error('The agent adds no disks');
  }

  removeDisk(): Promise<void> {
    throw new Error('The agent removes no disks');
  }

  applyMap(map: { readonly version: number }): boolean {
    this.mapVersions.push(map.version);
    return true;
  }

  extendLease(untilMs: number): void {
    this.leaseUntilMs = untilMs;
  }

  setLimits(limits: BackgroundLimits): void {
    this.limits = limits;
  }

  setScrubs(): void {
    throw new Error('Nobody ordered a scrub');
  }

  keepMap(): void {
    throw new Error('The agent keeps no maps');
  }

  recall(): Promise<null> {
    return Promise.resolve(null);
  }

  report(): NodeReport {
    return EMPTY_REPORT;
  }

  onUrgent(listener: () => void): void {
    this.urgent = listener;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

interface OpenLink {
  readonly address: string;
  readonly sent: NodeMessage[];
  readonly handlers: ControlLinkHandlers;
  isOpen: boolean;
}

class Bench {
  readonly clock = new VirtualClock();
  readonly plane = new RecordingPlane();
  readonly links: OpenLink[] = [];
  readonly asked: { readonly address: string; readonly request: GrantRequest }[] = [];
  missingCount = 0;
  /** How peers answer; null: they do not. */
  answer: (address: string) => GrantReply | null = () => null;
  readonly agent: NodeAgent;

  constructor() {
    const dialer: ControlDialer = {
      connect: (address, handlers) => {
        const link: OpenLink = { address, sent: [], handlers, isOpen: true };
        this.links.push(link);
        return {
          send: (message) => link.sent.push(message),
          close: (reason) => this.cut(link, reason),
        };
      },
      askGrant: (address, request, timeoutMs, done) => {
        this.asked.push({ address, request });
        const reply = this.answer(address);
        this.clock.after(reply === null ? timeoutMs : 5, () => done(reply));
      },
    };
    this.agent = new NodeAgent(
      {
        hello: {
          clusterId: 'c',
          agentId: 'a',
          executorId: 'e',
          hostname: 'h',
          incarnation: 'i',
          version: '1',
          grantAddress: 'h:2',
        },
        reportIntervalMs: 1_000,
        redialMinMs: 100,
        redialMaxMs: 1_000,
      },
      {
        clock: this.clock,
        log: () => undefined,
        dialer,
        dataPlane: this.plane,
        dataAddress: () => 'h:1',
        onManagerMissing: () => {
          this.missingCount += 1;
        },
        onMap: () => undefined,
      },
    );
  }

  cut(link: OpenLink, reason: string): void {
    if (!link.isOpen) return;
    link.isOpen = false;
    this.clock.after(0, () => link.handlers.onClose(reason));
  }

  get link(): OpenLink {
    const link = this.links.at(-1);
    if (link === undefined) throw new Error('No link was opened');
    return link;
  }

  say(message: ManagerMessage): void {
    this.link.handlers.onMessage(message);
  }

  /** Opens a session at `term` with a map of `nodeCount` nodes. */
  async welcome(term: number, nodeCount: number, fenced: readonly number[] = []): Promise<void> {
    this.agent.start(null, null);
    this.agent.setManager('m:1', term);
    this.say({
      kind: 'welcome',
      term,
      node: nodeId(1),
      leaseMs: LEASE_MS,
      resyncBytesPerSecond: 7,
      concurrentJoins: 2,
    });
    this.say({ kind: 'map', map: map(term, 10, nodeCount, fenced) });
    await this.clock.runFor(50);
  }

  lastReport(): number {
    const report = this.link.sent.filter((message) => message.kind === 'report').at(-1);
    return report?.kind === 'report' ? report.sequence : -1;
  }
}

function map(
  term: number,
  version: number,
  nodeCount: number,
  fenced: readonly number[] = [],
): ClusterMap {
  const nodes: MapNode[] = [];
  for (let id = 1; id <= nodeCount; id += 1) {
    nodes.push({
      id: nodeId(id),
      hostname: `h${id}`,
      zone: null,
      dataAddress: null,
      grantAddress: `h${id}:2`,
      isFenced: fenced.includes(id),
    });
  }
  return { clusterId: 'c', term, version, nodes, disks: [], pgs: [], volumes: [], nextVolume: 1 };
}

describe('node agent', () => {
  let bench: Bench;

  beforeEach(() => {
    bench = new Bench();
  });

  afterEach(() => bench.agent.close());

  it('hello first, with address, map version and term', async () => {
    await bench.welcome(3, 1);
    const [hello] = bench.link.sent;
    expect(hello?.kind).to.equal('hello');
    if (hello?.kind === 'hello') {
      expect(hello.hello).to.include({ dataAddress: 'h:1', mapVersion: 0, term: 3 });
    }
    expect(bench.plane.limits).to.deep.equal({ resyncBytesPerSecond: 7, concurrentJoins: 2 });
  });

  it('lease: counts from the moment the report was sent, however late the answer', async () => {
    await bench.welcome(1, 1);
    await bench.clock.runFor(1_000);
    const sequence = bench.lastReport();
    const sentAtMs = bench.clock.now();
    bench.plane.leaseUntilMs = 0;
    await bench.clock.runFor(900);
    bench.say({ kind: 'lease', term: 1, sequence, durationMs: LEASE_MS });
    expect(bench.plane.leaseUntilMs).to.be.at.most(sentAtMs + LEASE_MS);
    expect(bench.plane.leaseUntilMs).to.be.greaterThan(sentAtMs + LEASE_MS - 1_000);
  });

  it('lease: for a report that was never sent, ignored', async () => {
    await bench.welcome(1, 1);
    bench.say({ kind: 'lease', term: 1, sequence: 999, durationMs: LEASE_MS });
    expect(bench.plane.leaseUntilMs).to.equal(Number.NEGATIVE_INFINITY);
  });

  it('term: refused by a stranger with a high one at the old address, it still follows its own manager', async () => {
    await bench.welcome(3, 3);
    bench.cut(bench.link, 'the leader died');
    await bench.clock.runFor(200);
    // The leader's port was given to the scheduler of another cluster.
    bench.say({ kind: 'refusal', term: 500, reason: 'node belongs to cluster "c", this is "d"' });
    await bench.clock.runFor(50);
    bench.agent.setManager('m:2', 4);
    expect(bench.link.address).to.equal('m:2');
    expect(bench.link.sent[0]).to.have.nested.property('hello.term', 4);
    bench.say({ kind: 'map', map: map(4, 11, 3) });
    expect(bench.agent.map?.version).to.equal(11);
  });

  it('term: a manager with a lower one is refused and its map not applied', async () => {
    await bench.welcome(5, 1);
    const before = bench.plane.mapVersions.length;
    bench.say({ kind: 'map', map: map(4, 99, 1) });
    expect(bench.plane.mapVersions).to.have.length(before);
    expect(bench.link.isOpen).to.equal(false);
    bench.agent.setManager('old:1', 4);
    await bench.clock.runFor(2_000);
    expect(bench.links.map((link) => link.address)).not.to.include('old:1');
  });

  it('term: from the hint of a newer manager on, leases and maps of the old one count no more', async () => {
    await bench.welcome(1, 1);
    await bench.clock.runFor(1_000);
    const sequence = bench.lastReport();
    const old = bench.link;
    const versions = bench.plane.mapVersions.length;
    bench.agent.setManager('new:1', 2);
    expect(old.isOpen).to.equal(false);
    await bench.clock.runFor(200);
    expect(bench.link.address).to.equal('new:1');
    // What the old one had sent before arrives now; so would it on a link that cannot be told from the new one.
    old.handlers.onMessage({ kind: 'lease', term: 1, sequence, durationMs: LEASE_MS });
    bench.say({ kind: 'lease', term: 1, sequence, durationMs: LEASE_MS });
    bench.say({ kind: 'map', map: map(1, 99, 1) });
    expect(bench.plane.leaseUntilMs).to.equal(Number.NEGATIVE_INFINITY);
    expect(bench.plane.mapVersions).to.have.length(versions);
  });

  it('map: a delta that does not fit ends the session, the next one brings a full map', async () => {
    await bench.welcome(1, 1);
    bench.say({
      kind: 'delta',
      delta: {
        ...map(1, 13, 1),
        fromVersion: 12,
        removedNodes: [],
        removedDisks: [],
        removedPgs: [],
        removedVolumes: [],
      },
    });
    expect(bench.link.isOpen).to.equal(false);
    await bench.clock.runFor(500);
    expect(bench.links).to.have.length(2);
    expect(bench.link.sent[0]?.kind).to.equal('hello');
  });

  it('urgent: a report leaves at once, several changes of one moment in one', async () => {
    await bench.welcome(1, 1);
    const before = bench.lastReport();
    bench.plane.urgent();
    bench.plane.urgent();
    await bench.clock.runFor(20);
    expect(bench.lastReport()).to.equal(before + 1);
  });

  it('manager away: grants of a majority extend the lease', async () => {
    await bench.welcome(1, 3);
    bench.answer = (address) =>
      address === 'h2:2' ? { isGranted: true, reason: '', mapVersion: 10, node: nodeId(2) } : null;
    bench.cut(bench.link, 'cut');
    await bench.clock.runFor(10_000);
    expect(bench.plane.leaseUntilMs).to.be.greaterThan(bench.clock.now() + LEASE_MS - 2_500);
    expect(bench.missingCount).to.be.greaterThan(0);
  });

  it('manager away: grants of a minority, and clusters of two, extend nothing', async () => {
    await bench.welcome(1, 5);
    bench.answer = (address) =>
      address === 'h2:2' ? { isGranted: true, reason: '', mapVersion: 10, node: nodeId(2) } : null;
    bench.cut(bench.link, 'cut');
    await bench.clock.runFor(10_000);
    expect(bench.asked.length).to.be.greaterThan(0);
    expect(bench.plane.leaseUntilMs).to.equal(Number.NEGATIVE_INFINITY);

    const small = new Bench();
    await small.welcome(1, 2);
    small.answer = () => ({ isGranted: true, reason: '', mapVersion: 10, node: nodeId(2) });
    small.cut(small.link, 'cut');
    await small.clock.runFor(10_000);
    expect(small.plane.leaseUntilMs).to.equal(Number.NEGATIVE_INFINITY);
    small.agent.close();
  });

  it('grants: refused to a fenced node, a stranger, and another cluster', async () => {
    await bench.welcome(1, 3, [3]);
    const request = { clusterId: 'c', node: nodeId(2), term: 1, mapVersion: 10 };
    expect(bench.agent.handleGrant(request).isGranted).to.equal(true);
    for (const wrong of [
      { ...request, node: nodeId(3) },
      { ...request, node: nodeId(9) },
      { ...request, clusterId: 'other' },
    ]) {
      const reply = bench.agent.handleGrant(wrong);
      expect(reply.isGranted).to.equal(false);
      expect(reply.reason).not.to.equal('');
    }
  });

  it('silent link: a session without leases is closed and opened again', async () => {
    await bench.welcome(1, 1);
    await bench.clock.runFor(8_000);
    expect(bench.links.length).to.be.greaterThan(1);
  });

  it('redial: waits grow to the largest, then stay', async () => {
    bench.agent.start(null, null);
    bench.agent.setManager('m:1', 1);
    for (let round = 0; round < 12; round += 1) {
      bench.cut(bench.link, 'refused');
      await bench.clock.runFor(1_050);
    }
    expect(bench.links.length).to.be.within(11, 14);
  });
});

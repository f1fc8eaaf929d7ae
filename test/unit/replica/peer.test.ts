import { expect } from 'chai';
import { Lease } from '../../../executor/lease.ts';
import { MapIndex } from '../../../executor/map-index.ts';
import { Peer, type ReplyTarget } from '../../../executor/peer/peer.ts';
import { ReplicaServer } from '../../../executor/replica/replica-server.ts';
import { nodeId } from '../../../shared/base/ids.ts';
import { Prng } from '../../../shared/base/prng.ts';
import type { Connection } from '../../../shared/ports.ts';
import { DataFrame, OP, STATUS } from '../../../shared/wire/data-protocol.ts';
import { SimulatedNetwork } from '../../simulation/ports/simulated-network.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';

class Answers implements ReplyTarget {
  readonly statuses: number[] = [];
  readonly lost: string[] = [];
  onReply(frame: DataFrame): void {
    this.statuses.push(frame.status);
  }
  onLost(_token: number, reason: string): void {
    this.lost.push(reason);
  }
}

function setting(options: { readonly serverCluster: string; readonly serverNode: number }) {
  const clock = new VirtualClock();
  const network = new SimulatedNetwork(clock, new Prng('peer'));
  const log = (): void => undefined;
  const modules = { clock, log, map: new MapIndex(), lease: new Lease() };
  const server = new ReplicaServer(
    { clusterId: options.serverCluster, self: nodeId(options.serverNode) },
    modules,
  );
  const connections: Connection[] = [];
  const listen = () =>
    network.host('server').listen('server:7400', (connection) => {
      connections.push(connection);
      return server.accept(connection, false);
    });
  const events: string[] = [];
  const connect = () =>
    new Peer(
      { clusterId: 'c', self: nodeId(1), node: nodeId(2), address: 'server:7400' },
      { network: network.host('client'), clock, log },
      { onPeerReady: () => events.push('ready'), onPeerLost: () => events.push('lost') },
    );
  return { clock, network, server, listen, connect, events, connections };
}

function flush(): DataFrame {
  const frame = new DataFrame();
  frame.op = OP.flush;
  frame.disk = 9;
  return frame;
}

describe('peer and replica server', () => {
  it('hello: same cluster and node, ready; requests are answered', async () => {
    const s = setting({ serverCluster: 'c', serverNode: 2 });
    await s.listen();
    const peer = s.connect();
    const answers = new Answers();
    expect(peer.send(flush(), answers, 0), 'not before the hello').to.equal(false);
    await s.clock.runFor(10);
    expect(peer.isReady).to.equal(true);
    expect(peer.send(flush(), answers, 0)).to.equal(true);
    expect(peer.outstanding).to.equal(1);
    await s.clock.runFor(10);
    expect(answers.statuses).to.deep.equal([STATUS.unknownDisk]);
    expect(peer.outstanding).to.equal(0);
  });

  it('another cluster: the server closes, the peer says why', async () => {
    const s = setting({ serverCluster: 'other', serverNode: 2 });
    await s.listen();
    const peer = s.connect();
    await s.clock.runFor(5000);
    expect(peer.isReady).to.equal(false);
    expect(s.events).to.not.include('ready');
  });

  it('another node behind the address: refused by the peer', async () => {
    const s = setting({ serverCluster: 'c', serverNode: 3 });
    await s.listen();
    const peer = s.connect();
    await s.clock.runFor(100);
    expect(peer.isReady).to.equal(false);
    expect(peer.lastError).to.contain('expected 2');
  });

  it('no hello first: the server closes', async () => {
    const s = setting({ serverCluster: 'c', serverNode: 2 });
    await s.listen();
    const closes: string[] = [];
    const connection = s.network.host('client').connect('server:7400', {
      onFrame: () => closes.push('a frame'),
      onClose: (reason) => closes.push(reason),
    });
    connection.send(flush());
    await s.clock.runFor(100);
    expect(closes).to.have.length(1);
    expect(closes[0]).to.not.equal('a frame');
  });

  it('the server restarts: waiting requests are lost once, and it is found again within a second', async () => {
    const s = setting({ serverCluster: 'c', serverNode: 2 });
    await s.listen();
    const peer = s.connect();
    await s.clock.runFor(10);
    const answers = new Answers();
    peer.send(flush(), answers, 0);
    s.network.host('server').crash(false);
    await s.clock.runFor(2000);
    expect(answers.lost).to.have.length(1);
    expect(peer.isReady).to.equal(false);
    await s.listen();
    await s.clock.runFor(600);
    expect(peer.isReady).to.equal(true);
    expect(s.events).to.deep.equal(['ready', ...s.events.slice(1, -1), 'ready']);
  });

  it('a silent partition: noticed within five seconds, idle or not', async () => {
    const s = setting({ serverCluster: 'c', serverNode: 2 });
    await s.listen();
    const peer = s.connect();
    await s.clock.runFor(3000);
    expect(peer.isReady, 'pings keep it').to.equal(true);
    s.network.block('server', 'client');
    await s.clock.runFor(5000);
    expect(peer.isReady).to.equal(false);
    expect(peer.lastError).to.not.equal('');
    s.network.healAll();
    await s.clock.runFor(5000);
    expect(peer.isReady).to.equal(true);
  });

  it('a client that vanished: its session ends at the server after a while', async () => {
    const s = setting({ serverCluster: 'c', serverNode: 2 });
    await s.listen();
    s.connect();
    await s.clock.runFor(100);
    s.network.partition('client', 'server');
    await s.clock.runFor(25_000);
    expect(s.network.host('server').ends.size).to.equal(0);
  });
});

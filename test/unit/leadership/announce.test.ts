/** A new manager tells executors where it is, without Mesos. */
import { join } from 'node:path';
import { expect } from 'chai';
import { serveGrants } from '../../../executor/control-client.ts';
import { announceManager } from '../../../scheduler/core/announce.ts';
import { createAnnouncer } from '../../../scheduler/leadership/announcer.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { nodeId } from '../../../shared/base/ids.ts';
import {
  type Announcement,
  decodeAnnouncement,
  encodeAnnouncement,
} from '../../../shared/model/announcement.ts';
import { loadControlCodec } from '../../../shared/node/control-codec.ts';
import { SimulatedCluster } from '../../scenarios/manager/simulated-cluster.ts';

const ANNOUNCEMENT: Announcement = { clusterId: 'c', address: '10.0.0.1:7401', term: 4 };

describe('announcement', () => {
  it('announcement: those not heard are told at once, then with growing waits; who says hello no more', () => {
    const cluster = new SimulatedCluster();
    for (let count = 0; count < 3; count += 1) cluster.addNode();
    cluster.run(5_000);
    cluster.isManagerUp = false;
    cluster.restartManager();
    const { state } = cluster;
    const now = cluster.now();
    const told = (afterMs: number): string[] =>
      announceManager(state, { ...now, ms: now.ms + afterMs }).flatMap((effect) => {
        if (effect.kind !== 'announce') return [];
        expect(effect.announcement).to.deep.equal({
          clusterId: state.facts.cluster.clusterId,
          address: state.options.controlAddress,
          term: state.term,
        });
        return [effect.to];
      });
    const all = [...state.facts.nodes.values()].map((node) => node.grantAddress);
    expect(told(0)).to.deep.equal(all);
    expect(told(900)).to.deep.equal([]);
    expect(told(1_000)).to.deep.equal(all);
    expect(told(2_900)).to.deep.equal([]);
    state.facts.nodes.update(nodeId(2), { admin: 'gone' });
    expect(told(3_000)).to.deep.equal([all[0], all[2]]);
    cluster.isManagerUp = true;
    cluster.run(3_000);
    expect(told(100_000)).to.deep.equal([]);
  });

  it('announcement: comes back from bytes as it was; anything else is refused', () => {
    expect(decodeAnnouncement(encodeAnnouncement(ANNOUNCEMENT))).to.deep.equal(ANNOUNCEMENT);
    for (const text of [
      '',
      '{',
      'null',
      '{}',
      '{"clusterId":"","address":"a:1","term":1}',
      '{"clusterId":"c","address":"nowhere","term":1}',
      '{"clusterId":"c","address":"a:1","term":-1}',
      '{"clusterId":"c","address":"a:1","term":"1"}',
      `{"clusterId":"${'c'.repeat(5_000)}","address":"a:1","term":1}`,
    ]) {
      expect(() => decodeAnnouncement(Buffer.from(text)), text).to.throw(StorageError);
    }
  });

  it('announcement: over gRPC, to an executor that listens and one that is gone', async () => {
    const heard: Announcement[] = [];
    const failures: string[] = [];
    const codec = loadControlCodec(join(process.cwd(), 'proto'));
    const server = await serveGrants(codec, '127.0.0.1', {
      onGrant: () => {
        throw new Error('nobody asked');
      },
      onRecall: () => Promise.reject(new Error('nobody asked')),
      onAnnouncement: (announcement) => heard.push(announcement),
    });
    const announcer = createAnnouncer((_level, _message, fields) =>
      failures.push(String(fields?.['to'])),
    );
    announcer.announce(server.address, ANNOUNCEMENT);
    announcer.announce('127.0.0.1:1', ANNOUNCEMENT);
    const deadline = Date.now() + 10_000;
    while ((heard.length === 0 || failures.length === 0) && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    server.close();
    expect(heard).to.deep.equal([ANNOUNCEMENT]);
    expect(failures).to.deep.equal(['127.0.0.1:1']);
  });
});

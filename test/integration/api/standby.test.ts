/** A scheduler that stands by: reads come from the leader or a copy, changes go to the leader. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import type { StandbyPort } from '../../../scheduler/api/standby-port.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import type { ClusterView, ErrorView } from '../../../shared/model/api-views.ts';
import type { LeaderRecord } from '../../../shared/ports.ts';
import { type ApiFixture, startFixture } from '../../fixture/api-fixture.ts';
import { SMALL } from '../../fixture/cluster-views.ts';

/** The election as a test wants it. */
class Election {
  leader: LeaderRecord | null = null;
  copyAgeMs: number | null = 7_200;

  port(address: string): StandbyPort {
    return {
      address,
      findLeader: async () => this.leader,
      followStore: async () => {
        if (this.copyAgeMs !== null) return this.copyAgeMs;
        throw new StorageError('unavailable', 'The metadata store cannot be reached');
      },
    };
  }
}

const STANDBY = { isLeading: false, isStandby: true, reason: 'this scheduler stands by' };

describe('api: standby', () => {
  let election: Election;
  let leader: ApiFixture;
  let standby: ApiFixture;
  const servers: Server[] = [];

  beforeEach(async () => {
    election = new Election();
    leader = await startFixture(SMALL, {}, election.port('http://leader'));
    standby = await startFixture(SMALL, {}, election.port('http://standby'));
    standby.manager.setLeadership(STANDBY);
    standby.manager.contents.volumes.length = 0;
    election.leader = { term: 3, address: leader.url };
  });

  afterEach(async () => {
    await Promise.all([leader.close(), standby.close()]);
    for (const server of servers.splice(0)) server.close();
  });

  it('probes: healthy but not ready, and everybody says who leads', async () => {
    const health = await fetch(`${standby.url}/health`);
    expect(health.status).to.equal(200);
    expect(await health.json()).to.include({ role: 'standby', isLeading: false, health: null });
    expect((await fetch(`${standby.url}/ready`)).status).to.equal(503);
    expect((await fetch(`${leader.url}/ready`)).status).to.equal(200);
    const record = { term: 3, address: leader.url };
    for (const [url, isSelf] of [
      [standby.url, false],
      [leader.url, true],
    ] as const) {
      const answer = await fetch(`${url}/v1/leader`);
      expect(await answer.json()).to.deep.equal({ leader: record, isSelf });
    }
  });

  it('reads: the answer of the leader, whatever it is', async () => {
    const answer = await fetch(`${standby.url}/v1/volumes`);
    expect(answer.headers.get('cistern-leader')).to.equal(leader.url);
    expect(await answer.json()).to.deep.equal(leader.manager.volumes());
    const filtered = await fetch(`${standby.url}/v1/events?limit=2`);
    expect(await filtered.json()).to.have.length(2);
    const missing = await fetch(`${standby.url}/v1/volumes/nothing`);
    expect(missing.status).to.equal(404);
    expect(((await missing.json()) as ErrorView).code).to.equal('not-found');
  });

  it('streams: passed on as they come, and ended with the leader', async () => {
    const answer = await fetch(`${standby.url}/v1/events/stream?since=0`);
    const reader = answer.body?.getReader();
    const first = await reader?.read();
    expect(new TextDecoder().decode(first?.value)).to.match(/retry:|event:/);
    await leader.close();
    let isEnded = false;
    try {
      while (!isEnded) isEnded = (await reader?.read())?.done ?? true;
    } catch {
      isEnded = true; // Cut off in the middle: a client connects again, as it would to the leader.
    }
    expect(isEnded).to.equal(true);
  });

  it('changes: 307 to the same place at the leader, where they arrive whole', async () => {
    const options = {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'new', sizeBytes: 1024 ** 3 }),
    };
    const answer = await fetch(`${standby.url}/v1/volumes?x=1`, {
      ...options,
      redirect: 'manual',
    });
    expect(answer.status).to.equal(307);
    expect(answer.headers.get('location')).to.equal(`${leader.url}/v1/volumes?x=1`);
    const followed = await fetch(`${standby.url}/v1/volumes`, options);
    expect(followed.ok).to.equal(true);
    expect(leader.manager.volumes().map((volume) => volume.name)).to.include('new');
    expect(standby.manager.commands).to.deep.equal([]);
  });

  it('no leader: reads come from the copy with its age, changes and streams are told when to try again', async () => {
    election.leader = null;
    const answer = await fetch(`${standby.url}/v1/volumes`);
    expect(answer.headers.get('cistern-snapshot-age')).to.equal('7');
    expect(await answer.json()).to.deep.equal([]);
    for (const [path, method] of [
      ['/v1/volumes', 'POST'],
      ['/v1/stream', 'GET'],
    ] as const) {
      const refused = await fetch(`${standby.url}${path}`, { method });
      expect(refused.status).to.equal(503);
      expect(refused.headers.get('retry-after')).to.equal('2');
      expect(((await refused.json()) as ErrorView).message).to.match(/Nobody leads/);
    }
  });

  it('no leader and no copy: 503 with the reason', async () => {
    election.leader = null;
    election.copyAgeMs = null;
    const refused = await fetch(`${standby.url}/v1/cluster`);
    expect(refused.status).to.equal(503);
    expect(await refused.text()).to.include('cannot be reached');
  });

  it('leader that does not answer: the copy, at once from the second time on', async () => {
    const silent = createServer(() => undefined);
    servers.push(silent);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    election.leader = { term: 4, address: `http://127.0.0.1:${port}` };
    expect((await fetch(`${standby.url}/v1/cluster`)).headers.get('cistern-snapshot-age')).to.equal(
      '7',
    );
    const askedAtMs = performance.now();
    const answer = await fetch(`${standby.url}/v1/cluster`);
    expect(((await answer.json()) as ClusterView).name).to.equal('fixture');
    expect(performance.now() - askedAtMs).to.be.below(2_000);
    silent.closeAllConnections();
  });

  it('two that take each other for the leader: no request goes in circles', async () => {
    leader.manager.setLeadership(STANDBY);
    const answer = await fetch(`${standby.url}/v1/cluster`);
    expect(answer.status).to.equal(200);
    expect(answer.headers.get('cistern-snapshot-age')).to.equal('7');
    expect(answer.headers.get('cistern-leader')).to.equal(null);
  });
});

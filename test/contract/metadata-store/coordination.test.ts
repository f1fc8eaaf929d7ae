/**
 * The suite on a real ZooKeeper and a real etcd, and what only they can do: lose sessions and answers, go
 * away and come back, lose their leader. One server and one group of three of each serve the whole file.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { Folder } from '../../../scheduler/metadata/coordinator.ts';
import { AnswerEater } from './answer-eater.ts';
import {
  benchOf,
  freshPath,
  openStore,
  SERVICES,
  SESSION_MS,
  type Servers,
  type Service,
  until,
} from './real-stores.ts';
import { CANDIDATE, codeOf, describeStore, noise } from './store-suite.ts';

/** Sessions of the tests in which a leader of the service dies: it takes a second or two to have another. */
const LONG_SESSION_MS = 8_000;
/** Of the test that waits for its end, and for that of the next one. */
const AWAY_SESSION_MS = 2_000;

for (const service of SERVICES) {
  describe(`metadata store on real servers: ${service.name}`, function () {
    this.timeout(120_000);
    let single: Servers | null = null;
    const one = (): Servers => {
      if (single === null) throw new Error('The server is not up');
      return single;
    };

    before(async () => {
      single = await service.start(1);
    });

    after(() => single?.close());

    describeStore(benchOf(service, one));
    describeSessions(service, one);
    describeJournal(service, one);
  });

  describe(`metadata store on three servers: ${service.name}`, function () {
    this.timeout(120_000);
    let servers: Servers | null = null;

    before(async () => {
      servers = await service.start(3);
    });

    after(() => servers?.close());

    it('leader killed, then a member stopped: commits wait and go on, none is lost or done twice', async () => {
      if (servers === null) throw new Error('The servers are not up');
      const path = freshPath();
      const store = openStore(service, servers, { path, sessionMs: LONG_SESSION_MS });
      const { lost } = await store.campaign(CANDIDATE);
      let reason: string | null = null;
      void lost.then((why) => {
        reason = why;
      });
      let { revision } = await store.load();
      const commit = async (): Promise<void> => {
        revision = await store.commit([{ key: `k${revision}`, value: 'x' }], revision);
      };
      for (let index = 0; index < 20; index += 1) await commit();
      const killed = await servers.leader();
      await killed.kill();
      for (let index = 0; index < 20; index += 1) await commit();
      killed.start();
      await servers.ready();
      const [stopped] = servers.members.filter((member) => member !== killed);
      stopped?.stop();
      for (let index = 0; index < 20; index += 1) await commit();
      stopped?.goOn();
      expect(reason).to.equal(null);
      expect(revision).to.equal(60);
      const { entries } = await store.load();
      expect(entries).to.have.lengthOf(60);
      await store.close();
    });
  });
}

function describeSessions(service: Service, servers: () => Servers): void {
  it('two candidates: the second one waits, and leads when the first resigns', async () => {
    const options = { path: freshPath(), sessionMs: SESSION_MS };
    const first = openStore(service, servers(), options);
    const second = openStore(service, servers(), options);
    const { term } = await first.campaign(CANDIDATE);
    let isLeading = false;
    const campaign = second.campaign({ address: 'http://second:1' }).then((leadership) => {
      isLeading = true;
      return leadership;
    });
    // Two of its looks at the election.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(isLeading).to.equal(false);
    expect((await second.leader())?.term).to.equal(term);
    await first.resign();
    expect((await campaign).term).to.equal(term + 1);
    expect(await first.leader()).to.deep.equal({ term: term + 1, address: 'http://second:1' });
    await first.close();
    await second.close();
  });

  it('waiting candidate that is closed: rejects', async () => {
    const options = { path: freshPath(), sessionMs: SESSION_MS };
    const first = openStore(service, servers(), options);
    const second = openStore(service, servers(), options);
    await first.campaign(CANDIDATE);
    const campaign = codeOf(second.campaign(CANDIDATE));
    await until('it waits', async () => (await second.leader()) !== null);
    await second.close();
    expect(await campaign).to.equal('unavailable');
    await first.close();
  });

  it('fence: a leader that knows of nothing is refused by the service, and learns it', async () => {
    const path = freshPath();
    const store = openStore(service, servers(), { path, sessionMs: SESSION_MS });
    const { lost } = await store.campaign(CANDIDATE);
    const { revision } = await store.load();
    await service.usurp(servers(), path);
    expect(await codeOf(store.commit([{ key: 'a', value: '1' }], revision))).to.equal('conflict');
    expect(await lost).to.contain('Another candidate');
    const reader = openStore(service, servers(), { path, sessionMs: SESSION_MS });
    expect(await reader.load()).to.deep.equal({ revision, entries: [] });
    await reader.close();
    await store.close();
  });

  it('leader stopped beyond its session: another leads; when it goes on it does nothing', async () => {
    const path = freshPath();
    const child = await startCandidate(service, servers(), path);
    await until('it has committed', () => child.count('done') > 20);
    child.signal('SIGSTOP');
    const next = openStore(service, servers(), { path, sessionMs: SESSION_MS });
    const { term } = await next.campaign(CANDIDATE);
    const { revision, entries } = await next.load();
    await next.commit([{ key: 'new', value: 'x' }], revision);
    const saidBefore = child.lines.length;
    child.signal('SIGCONT');
    await until('it has ended', () => child.count('end') > 0);
    const said = child.lines.slice(saidBefore);
    expect(said.some((line) => line['lost'] !== undefined)).to.equal(true);
    const done = said.filter((line) => line['done'] !== undefined);
    // The answer to the one under way may have waited in its socket.
    const known = new Set(entries.map(({ key }) => key));
    expect(done.filter((line) => !known.has(String(line['done'])))).to.deep.equal([]);
    expect(term).to.equal(2);
    const after = await next.load();
    expect(after.revision).to.equal(revision + 1);
    expect(after.entries).to.have.lengthOf(entries.length + 1);
    for (const line of child.lines) {
      if (line['done'] !== undefined) expect(known.has(String(line['done']))).to.equal(true);
    }
    await next.close();
  });

  it('leader killed: the next one leads after its session, with everything it was told is done', async () => {
    const path = freshPath();
    const child = await startCandidate(service, servers(), path);
    await until('it has committed', () => child.count('done') > 20);
    child.signal('SIGKILL');
    const startedAt = Date.now();
    const next = openStore(service, servers(), { path, sessionMs: SESSION_MS });
    const { term } = await next.campaign(CANDIDATE);
    expect(Date.now() - startedAt).to.be.lessThan(10 * SESSION_MS);
    expect(term).to.equal(2);
    const { entries } = await next.load();
    const keys = entries.map(({ key }) => key);
    const done = child.lines.flatMap((line) => (line['done'] === undefined ? [] : [line['done']]));
    const tried = child.lines.flatMap((line) => (line['try'] === undefined ? [] : [line['try']]));
    expect(keys).to.include.members(done);
    expect(tried).to.include.members(keys);
    await next.close();
  });

  it('store away and back: the leader steps down by itself, and leads again with all facts', async () => {
    const path = freshPath();
    const store = openStore(service, servers(), { path, sessionMs: AWAY_SESSION_MS });
    const { lost, term } = await store.campaign(CANDIDATE);
    const { revision } = await store.load();
    const next = await store.commit([{ key: 'a', value: '1' }], revision);
    const [member] = servers().members;
    if (member === undefined) throw new Error('No server');
    await member.kill();
    const commit = codeOf(store.commit([{ key: 'b', value: '1' }], next));
    expect(await lost).to.match(/did not confirm|expired|run out/);
    expect(await commit).to.equal('unavailable');
    expect(await codeOf(store.commit([{ key: 'c', value: '1' }], next))).to.equal('conflict');
    const again = store.campaign(CANDIDATE);
    await new Promise((resolve) => setTimeout(resolve, 500));
    member.start();
    expect((await again).term).to.be.greaterThan(term);
    const { entries } = await store.load();
    // The one without an answer may have come through; nothing else did.
    expect(entries.map(({ key }) => key))
      .to.include('a')
      .and.not.include('c');
    await store.close();
  });

  it('answer lost on the way: the commit is done once, and its caller learns it', async () => {
    const [target = ''] = servers().servers;
    const eater = await AnswerEater.start(target);
    const path = freshPath();
    const options = { path, sessionMs: LONG_SESSION_MS, servers: [eater.address] };
    const store = openStore(service, servers(), options);
    const { lost } = await store.campaign(CANDIDATE);
    let isLost = false;
    void lost.then(() => {
      isLost = true;
    });
    const { revision } = await store.load();
    eater.eatAnswerTo('commit-to-eat');
    const next = await store.commit([{ key: 'commit-to-eat', value: '1' }], revision);
    expect(eater.hasEaten).to.equal(true);
    expect(next).to.equal(revision + 1);
    expect(await store.commit([{ key: 'b', value: '2' }], next)).to.equal(next + 1);
    expect(await store.load()).to.deep.include({ revision: next + 1 });
    expect(isLost).to.equal(false);
    await store.close();
    await eater.close();
  });
}

function describeJournal(service: Service, servers: () => Servers): void {
  it('snapshots: the log stays short, nothing is left over, every state is right', async () => {
    const path = freshPath();
    const options = {
      path,
      sessionMs: SESSION_MS,
      policy: { logRecordsMax: 10, logBytesMin: 1e9 },
    };
    const store = openStore(service, servers(), options);
    await store.campaign(CANDIDATE);
    let { revision } = await store.load();
    await store.settled();
    const expected = new Map<string, string>();
    for (let index = 0; index < 60; index += 1) {
      const value = index % 20 === 7 ? noise(1_500_000, index) : `${index}`;
      const key = `k${index % 15}`;
      expected.set(key, value);
      expected.delete('k3');
      const changes = [
        { key, value },
        { key: 'k3', value: null },
      ];
      revision = await store.commit(key === 'k3' ? changes.slice(1) : changes, revision);
    }
    await store.settled();
    const loaded = await store.load();
    expect(new Map(loaded.entries.map(({ key, value }) => [key, value]))).to.deep.equal(expected);
    await store.settled();
    const coordinator = service.coordinator(servers(), options);
    const count = async (folder: Folder): Promise<number> =>
      (await coordinator.list(folder)).length;
    expect(await count('snapshots')).to.equal(1);
    expect(await count('log')).to.be.lessThan(10);
    const parts = await count('parts');
    // What a leader left that died while it staged: nobody names it.
    const seat = await orphan(service, servers(), options, store);
    expect(await count('parts')).to.equal(parts + 1);
    await store.campaign(CANDIDATE);
    const reloaded = await store.load();
    expect(reloaded.entries).to.have.lengthOf(expected.size);
    await store.settled();
    expect(await count('parts')).to.equal(parts);
    expect(seat).to.equal(true);
    await coordinator.close();
    await store.close();
  });
}

/** Stages a part and resigns before the head could name it. */
async function orphan(
  service: Service,
  servers: Servers,
  options: { readonly path: string; readonly sessionMs: number },
  store: { resign(): Promise<void> },
): Promise<boolean> {
  await store.resign();
  const coordinator = service.coordinator(servers, options);
  const seat = await coordinator.takeSeat(CANDIDATE);
  const { isDone } = await seat.write({
    puts: [{ name: 'parts/orphan-0', bytes: Buffer.from('left') }],
  });
  await seat.leave('It dies');
  await coordinator.close();
  return isDone;
}

interface ChildCandidate {
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  count(kind: string): number;
  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void;
}

async function startCandidate(
  service: Service,
  { servers }: Servers,
  path: string,
): Promise<ChildCandidate> {
  const script = fileURLToPath(new URL('./candidate-process.js', import.meta.url));
  const child = spawn(
    process.execPath,
    [script, service.name, path, String(SESSION_MS), ...servers],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const lines: Record<string, unknown>[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line)));
  await until('it leads', () => lines.length > 0);
  return {
    lines,
    count: (kind) => lines.filter((line) => line[kind] !== undefined).length,
    signal: (name) => void child.kill(name),
  };
}

/**
 * The leading master found in a real ZooKeeper: the nodes that real masters made, masters of the stand-in
 * that announce themselves there, and what happens when another one leads.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { MasterDetector, mastersOf } from '../../../scheduler/mesos/detector.ts';
import { ZooKeeperSession } from '../../../scheduler/metadata/zookeeper-session.ts';
import { readServiceAddress } from '../../../scheduler/service-address.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { systemClock } from '../../../shared/node/clock.ts';
import { RECORDINGS, WHY_SKIPPED } from '../../contract/mesos-wire/recordings.ts';
import { ZooKeeperEnsemble } from '../../fixture/zookeeper-ensemble.ts';
import { until, World } from './harness.ts';

const FOLDER = join(RECORDINGS, 's10-zookeeper-masters-json');
const modules = { clock: systemClock, log: () => undefined };
const SESSION_MS = 5_000;

describe('mesos client: masters in ZooKeeper', function () {
  this.timeout(90_000);
  let ensemble: ZooKeeperEnsemble;
  const open: { close(): unknown }[] = [];

  before(async () => {
    ensemble = await ZooKeeperEnsemble.start(1);
  });

  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.close();
  });

  after(() => ensemble.close());

  const url = (path: string, credentials = ''): string =>
    `zk://${credentials}${ensemble.servers.join(',')}${path}`;

  function detect(address: string, found: (readonly string[])[] = []): MasterDetector {
    const detector = new MasterDetector(readServiceAddress('master', address, ['zk']), 'http', {
      ...modules,
      onChange: (masters) => found.push(masters),
    });
    open.push(detector);
    return detector;
  }

  function session(): ZooKeeperSession {
    const address = { servers: ensemble.servers, credentials: null };
    const made = new ZooKeeperSession(address, ensemble.servers, SESSION_MS, modules);
    open.push(made);
    return made;
  }

  it('recorded nodes: the lowest number leads, whatever else is there', async function () {
    if (!existsSync(FOLDER)) {
      console.log(WHY_SKIPPED);
      this.skip();
    }
    const zookeeper = session();
    for (const [folder, port] of [
      ['znodes-three-masters', 5150],
      ['znodes-after-failover', 5155],
    ] as const) {
      const path = `/${folder}`;
      await zookeeper.ensure(path);
      for (const file of readdirSync(join(FOLDER, folder)).sort().reverse()) {
        if (!file.endsWith('.data') || file.startsWith('log_replicas_')) continue;
        await zookeeper.multi([
          {
            kind: 'create',
            path: `${path}/${file.replace('.data', '')}`,
            data: readFileSync(join(FOLDER, folder, file)),
          },
        ]);
      }
      const masters = await detect(url(path)).find();
      expect(masters[0]).to.match(new RegExp(`^http://master\\d\\.example:${port}$`));
      expect(masters[1]).to.equal(`http://127.0.0.1:${port}`);
    }
  });

  it('nobody leads, or the path is wrong: none, or a refusal that names it', async () => {
    await session().ensure('/empty');
    expect(await detect(url('/empty')).find()).to.deep.equal([]);
    const error = await detect(url('/elsewhere'))
      .find()
      .catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(StorageError);
    expect(String(error)).to.contain('/elsewhere');
  });

  it('credentials: nodes of masters with a password are read with it, and refused without', async () => {
    const world = await World.start({ zookeeper: url('/secured', 'mesos:secret@') });
    open.push(world);
    expect(await detect(url('/secured', 'mesos:secret@')).find()).to.deep.equal([
      world.mesos.masterUrl,
    ]);
    const error = await detect(url('/secured'))
      .find()
      .catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(StorageError).with.property('code', 'invalid-argument');
  });

  it('leader changes: the subscription follows, and one elsewhere is given up', async () => {
    const world = await World.start({ zookeeper: url('/mesos'), leaderSessionMs: 1_000 });
    open.push(world);
    await world.addAgent('agent1');
    const second = await world.mesos.addRedirectingMaster();
    const found: (readonly string[])[] = [];
    const detector = detect(url('/mesos'), found);
    const shell = world.shell({ masters: () => detector.find() });
    await until('subscribed', () => shell.events.some(({ type }) => type === 'SUBSCRIBED'));
    const first = world.mesos.masterUrl;
    shell.events.length = 0;
    await world.mesos.failOverTo(second);
    await until('subscribed again', () => shell.events.some(({ type }) => type === 'SUBSCRIBED'));
    await until('told of both', () => found.length === 2);
    expect(found).to.deep.equal([[first], [second]]);
    shell.events.length = 0;
    const disconnects = shell.disconnects.length;
    // A leader that is cut off from ZooKeeper serves on for a while: its stream alone tells nothing.
    shell.follow(['http://127.0.0.1:1']);
    expect(shell.disconnects.slice(disconnects).join()).to.contain('another master leads now');
    await until('subscribed a third time', () =>
      shell.events.some(({ type }) => type === 'SUBSCRIBED'),
    );
  });

  it('watch: another leader is told at once', async () => {
    const zookeeper = session();
    await zookeeper.ensure('/watched');
    const info = (port: number) =>
      Buffer.from(JSON.stringify({ address: { hostname: 'h', ip: '127.0.0.1', port } }));
    await zookeeper.createEphemeral('/watched/json.info_', info(1));
    const found: (readonly string[])[] = [];
    const detector = detect(url('/watched'), found);
    await detector.find();
    const other = session();
    await other.createEphemeral('/watched/json.info_', info(2));
    await zookeeper.close();
    await until('told of the other', () => found.length === 2, 10_000);
    expect(found[1]).to.deep.equal(['http://h:2', 'http://127.0.0.1:2']);
  });

  it('ensemble away and back: the detector finds the master again', async () => {
    const world = await World.start({ zookeeper: url('/away') });
    open.push(world);
    const detector = detect(url('/away'));
    const masters = await detector.find();
    const [member] = ensemble.members;
    await member?.kill();
    member?.start();
    await ensemble.ready();
    let again: readonly string[] = [];
    for (let attempt = 0; again.length === 0 && attempt < 20; attempt += 1) {
      again = await detector.find().catch(() => []);
    }
    expect(again).to.deep.equal(masters);
  });

  it('hostile nodes: no JSON, no port, no host: refused with the name of the node', () => {
    for (const text of ['', 'null', '[]', '{"port":0}', '{"port":5050}', '{"port":"x"}']) {
      expect(() => mastersOf(Buffer.from(text), 'https', 'json.info_1')).to.throw(
        StorageError,
        'json.info_1',
      );
    }
    const old = Buffer.from('{"pid":"master@10.0.0.1:5050","port":5050}');
    expect(mastersOf(old, 'https', 'x')).to.deep.equal(['https://10.0.0.1:5050']);
  });
});

/** Who may read and write a metadata store: passwords in ZooKeeper and etcd, TLS to etcd. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { EtcdTls } from '../../../scheduler/metadata/etcd-connection.ts';
import { EtcdCoordinator } from '../../../scheduler/metadata/etcd-coordinator.ts';
import { loadEtcdWire } from '../../../scheduler/metadata/etcd-wire.ts';
import { JournalStore } from '../../../scheduler/metadata/journal-store.ts';
import { systemClock } from '../../../shared/node/clock.ts';
import { systemRandom } from '../../../shared/node/random.ts';
import { EtcdCluster } from '../../fixture/etcd-cluster.ts';
import { ZooKeeperEnsemble } from '../../fixture/zookeeper-ensemble.ts';
import { PROJECT_ROOT } from '../../tidy/source-tree.ts';
import { freshPath, openStore, SERVICES, SESSION_MS } from './real-stores.ts';
import { CANDIDATE, codeOf } from './store-suite.ts';

const modules = { clock: systemClock, random: systemRandom, log: () => undefined };
const wire = loadEtcdWire(join(PROJECT_ROOT, 'proto'));

describe('metadata store: who is let in', function () {
  this.timeout(60_000);
  const closing: { close(): unknown }[] = [];

  afterEach(async () => {
    for (const one of closing.splice(0).reverse()) await one.close();
  });

  it('zookeeper: with a password everything is ours alone; others are refused, also to campaign', async () => {
    const ensemble = await ZooKeeperEnsemble.start(1);
    closing.push(ensemble);
    const [service] = SERVICES.filter(({ name }) => name === 'zookeeper');
    if (service === undefined) throw new Error('ZooKeeper is a service');
    const path = freshPath();
    const open = (credentials?: string): JournalStore => {
      const given = credentials === undefined ? {} : { credentials };
      const store = openStore(service, ensemble, { path, sessionMs: SESSION_MS, ...given });
      closing.push(store);
      return store;
    };
    const ours = open('cistern:secret');
    await ours.campaign(CANDIDATE);
    const { revision } = await ours.load();
    await ours.commit([{ key: 'a', value: '1' }], revision);
    for (const stranger of [open(), open('cistern:wrong')]) {
      expect(await codeOf(stranger.load())).to.equal('invalid-argument');
      expect(await codeOf(stranger.campaign(CANDIDATE))).to.equal('invalid-argument');
    }
    expect((await open('cistern:secret').load()).entries).to.have.lengthOf(1);
    // Another cluster beside ours, with another user.
    const address = { path: `${path}-2`, sessionMs: SESSION_MS, credentials: 'other:x' };
    const neighbour = openStore(service, ensemble, address);
    closing.push(neighbour);
    await neighbour.campaign(CANDIDATE);
  });

  it('etcd: user and password, also after the token has run out; a wrong one is refused', async () => {
    const cluster = await EtcdCluster.start(1);
    closing.push(cluster);
    const [server = ''] = cluster.servers;
    await enableAuth(server, 'cistern', 'secret', '/cistern/');
    const open = (credentials: string | null, path = '/cistern/x'): JournalStore => {
      const address = { servers: cluster.servers, credentials, tls: null, path };
      const coordinator = new EtcdCoordinator(address, SESSION_MS, wire, modules);
      const store = new JournalStore({ coordinator, ...modules });
      closing.push(store);
      return store;
    };
    const ours = open('cistern:secret');
    await ours.campaign(CANDIDATE);
    const { revision } = await ours.load();
    // A member that starts again knows no tokens.
    const [member] = cluster.members;
    await member?.kill();
    member?.start();
    expect(await ours.commit([{ key: 'a', value: '1' }], revision)).to.equal(revision + 1);
    expect(await codeOf(open('cistern:wrong').load())).to.equal('invalid-argument');
    expect(await codeOf(open(null).load())).to.equal('invalid-argument');
    expect(await codeOf(open('cistern:secret', '/elsewhere').load())).to.equal('invalid-argument');
  });

  it('etcd: TLS with an authority of our own; without it the server is not believed', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'cistern-tls-'));
    closing.push({ close: () => rmSync(directory, { recursive: true, force: true }) });
    const certificate = join(directory, 'cert.pem');
    const key = join(directory, 'key.pem');
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
        ...['-keyout', key, '-out', certificate, '-days', '2', '-subj', '/CN=etcd'],
        ...['-addext', 'subjectAltName=IP:127.0.0.1'],
      ],
      { stdio: 'ignore' },
    );
    const cluster = await EtcdCluster.start(1, { certificate, key });
    closing.push(cluster);
    const open = (tls: EtcdTls | null, sessionMs = SESSION_MS): JournalStore => {
      const address = { servers: cluster.servers, credentials: null, tls, path: '/cistern/x' };
      const coordinator = new EtcdCoordinator(address, sessionMs, wire, modules);
      const store = new JournalStore({ coordinator, ...modules });
      closing.push(store);
      return store;
    };
    const ours = open({ ca: readFileSync(certificate), certificate: null, key: null });
    // It waits until the server is up.
    await ours.campaign(CANDIDATE);
    const { revision } = await ours.load();
    await ours.commit([{ key: 'a', value: '1' }], revision);
    // Reads are tried for two sessions.
    const strangers = [open({ ca: null, certificate: null, key: null }, 1_000), open(null, 1_000)];
    const codes = await Promise.all(strangers.map((stranger) => codeOf(stranger.load())));
    expect(codes).to.deep.equal(['unavailable', 'unavailable']);
  });
});

/** By etcd's own JSON gateway: root, a user with one prefix, and authentication on. */
async function enableAuth(
  server: string,
  name: string,
  password: string,
  prefix: string,
): Promise<void> {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const post = async (path: string, body: object): Promise<void> => {
    const response = await fetch(`http://${server}/v3/auth/${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
  };
  await post('user/add', { name: 'root', password: 'root' });
  await post('role/add', { name: 'root' });
  await post('user/grant', { user: 'root', role: 'root' });
  await post('user/add', { name, password });
  await post('role/add', { name });
  const perm = { permType: 2, key: base64(prefix), range_end: base64(`${prefix.slice(0, -1)}0`) };
  await post('role/grant', { name, perm });
  await post('user/grant', { user: name, role: name });
  await post('enable', {});
}

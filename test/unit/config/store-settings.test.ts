/** Which metadata store and where masters are: addresses, defaults, and refusals without secrets. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { readConfig } from '../../../scheduler/config.ts';
import { storeName } from '../../../scheduler/metadata/open-store.ts';
import { StorageError } from '../../../shared/base/errors.ts';

const store = (environment: Record<string, string>) => readConfig([], environment).store;

describe('store settings', () => {
  it('nothing said: embedded, in a directory', () => {
    expect(store({ CISTERN_STATE_DIR: '/var/lib/x' })).to.deep.equal({
      kind: 'embedded',
      directory: '/var/lib/x',
    });
  });

  it('masters in ZooKeeper: the same ensemble, with its credentials, below the name', () => {
    const given = store({ CISTERN_MASTER: 'zk://u:p@a:1,b/mesos', CISTERN_NAME: 'prod' });
    expect(given).to.deep.equal({
      kind: 'zookeeper',
      address: {
        scheme: 'zk',
        servers: ['a:1', 'b:2181'],
        credentials: 'u:p',
        path: '/cistern/prod',
      },
      sessionMs: 6000,
    });
    expect(storeName(given)).to.equal('zk://a:1,b:2181/cistern/prod');
  });

  it('masters of another Mesos cluster in the same ensemble: a place of its own', () => {
    const given = store({ CISTERN_MASTER: 'zk://a/other/mesos', CISTERN_NAME: 'prod' });
    expect(storeName(given)).to.equal('zk://a:2181/cistern/other/mesos/prod');
  });

  it('masters in ZooKeeper and a state directory: embedded, as said', () => {
    const environment = { CISTERN_MASTER: 'zk://a/mesos', CISTERN_STATE_DIR: '/x' };
    expect(store(environment).kind).to.equal('embedded');
  });

  it('etcd: default port and prefix, encoded password, TLS by the scheme', () => {
    const given = store({ CISTERN_STORE: 'etcds://root:a%2Fb%3Ac@e1,[fd00::1]:99' });
    expect(given.kind === 'etcd' && given.address).to.deep.include({
      servers: ['e1:2379', '[fd00::1]:99'],
      credentials: 'root:a/b:c',
      path: '/cistern/cistern',
    });
    expect(given.kind === 'etcd' && given.tls).to.deep.equal({
      ca: null,
      certificate: null,
      key: null,
    });
  });

  it('credentials in a file: taken instead of those in the address', () => {
    const directory = mkdtempSync(join(tmpdir(), 'cistern-settings-'));
    try {
      const path = join(directory, 'secret');
      writeFileSync(path, 'me:secret\n');
      const given = store({ CISTERN_STORE: 'zk://a/x', CISTERN_STORE_CREDENTIALS_FILE: path });
      expect(given.kind === 'zookeeper' && given.address.credentials).to.equal('me:secret');
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('master lookup: ZooKeeper with a path and a scheme', () => {
    const config = readConfig([], {
      CISTERN_MASTER: 'zk://a,b:2182/mesos/',
      CISTERN_MASTER_SCHEME: 'https',
    });
    expect(config.masters).to.deep.equal([]);
    expect(config.masterLookup?.scheme).to.equal('https');
    expect(config.masterLookup?.address).to.deep.include({
      servers: ['a:2181', 'b:2182'],
      path: '/mesos',
    });
  });

  for (const [what, environment] of [
    ['an unknown scheme', { CISTERN_STORE: 'consul://a/x' }],
    ['no host', { CISTERN_STORE: 'zk:///x' }],
    ['a port above 65535', { CISTERN_STORE: 'etcd://a:70000/x' }],
    ['a path that climbs', { CISTERN_STORE: 'zk://a/x/../y' }],
    ['a user without a password', { CISTERN_STORE: 'zk://u:@a/x' }],
    ['masters without a path', { CISTERN_MASTER: 'zk://a:2181' }],
    [
      'files for TLS without TLS',
      { CISTERN_STORE: 'etcd://a/x', CISTERN_STORE_CA_FILE: '/dev/null' },
    ],
    ['a file that is not there', { CISTERN_STORE: 'etcds://a/x', CISTERN_STORE_CA_FILE: '/no/ca' }],
  ] as const) {
    it(`refused: ${what}`, () => {
      expect(() => readConfig([], environment))
        .to.throw(StorageError)
        .with.property('code', 'invalid-argument');
    });
  }

  it('refused: a password never appears in the message', () => {
    expect(() => store({ CISTERN_STORE: 'zk://user:hunter2@a:99999/x' })).to.throw(
      StorageError,
      /^((?!hunter2).)*$/s,
    );
  });
});

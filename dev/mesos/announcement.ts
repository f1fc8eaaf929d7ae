/**
 * A master's entry in ZooKeeper, as real ones make it: an ephemeral `json.info_NNNNNNNNNN` below the path,
 * with the master's address in JSON. The lowest number leads. A master that dies leaves it until its
 * session ends.
 */
import zookeeper, { type Client } from 'node-zookeeper-client';
import { StorageError } from '../../shared/base/errors.ts';
import type { MasterInfo } from '../../shared/mesos/messages.ts';

const READY_MS = 15_000;

export class Announcement {
  readonly #client: Client;

  private constructor(client: Client) {
    this.#client = client;
  }

  /** `url`: `zk://[user:password@]host:port,…/path`. Resolves when the entry is there. */
  static async make(url: string, master: MasterInfo): Promise<Announcement> {
    const match = /^zk:\/\/(?:([^@/]+)@)?([^/]+)(\/.+)$/.exec(url);
    const [, credentials, servers = '', path = ''] = match ?? [];
    if (match === null) {
      throw new StorageError(
        'invalid-argument',
        `ZooKeeper is "${url}", expected zk://host:port/path`,
      );
    }
    const client = zookeeper.createClient(servers, { sessionTimeout: 10_000 });
    if (credentials !== undefined) client.addAuthInfo('digest', Buffer.from(credentials));
    const scheme = credentials === undefined ? ['world', 'anyone'] : ['auth', ''];
    const { ACL, CreateMode, Id, Permission } = zookeeper;
    const acl = [new ACL(Permission.ALL, new Id(scheme[0] ?? '', scheme[1] ?? ''))];
    await within(READY_MS, `connect to "${servers}"`, (done) => {
      client.once('connected', () => done(null));
      client.connect();
    });
    await within(READY_MS, `create "${path}"`, (done) => client.mkdirp(path, acl, done));
    await within(READY_MS, `create an entry below "${path}"`, (done) => {
      const data = Buffer.from(JSON.stringify(master));
      client.create(`${path}/json.info_`, data, acl, CreateMode.EPHEMERAL_SEQUENTIAL, done);
    });
    return new Announcement(client);
  }

  /** The session ends: the entry is gone for all. */
  withdraw(): void {
    this.#client.close();
  }
}

function within(
  ms: number,
  what: string,
  start: (done: (error: unknown) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void =>
      reject(new StorageError('unavailable', `Could not ${what} at ZooKeeper: ${why}`));
    const timer = setTimeout(() => fail(`no answer within ${ms} ms`), ms);
    start((error) => {
      clearTimeout(timer);
      if (error === null || error === undefined) resolve();
      else fail(String(error));
    });
  });
}

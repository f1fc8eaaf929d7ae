/**
 * Finds the leading Mesos master in ZooKeeper, as Mesos' own clients do: below the path every master has
 * an ephemeral node `json.info_NNNNNNNNNN`, and the lowest number leads. Other nodes there (`log_replicas`,
 * old labels) are none of ours. Every question reads anew; a watch tells of changes in between, and a look
 * from time to time tells of those whose watch got lost.
 */
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { Clock, Log, Timer } from '../../shared/ports.ts';
import { resolveServers, ZooKeeperSession } from '../metadata/zookeeper-session.ts';
import type { ServiceAddress } from '../service-address.ts';

export interface DetectorModules {
  readonly clock: Clock;
  readonly log: Log;
  /** Another master leads than was found before: its addresses. */
  onChange(masters: readonly string[]): void;
}

const LABEL = 'json.info_';
/** As Mesos' own detector. */
const SESSION_MS = 10_000;
/** Looks without any news. */
const LOOK_MS = 15_000;
/** A master's node may be gone between the list and the look at it. */
const ATTEMPTS = 3;

export class MasterDetector {
  readonly #address: ServiceAddress;
  readonly #scheme: 'http' | 'https';
  readonly #modules: DetectorModules;
  #session: Promise<ZooKeeperSession> | null = null;
  #found: readonly string[] = [];
  #timer: Timer | null = null;
  #isClosed = false;
  /** One and the same: the library keeps a list of those that wait. */
  readonly #onWatch = (): void => void this.#look();

  /** `scheme`: what masters speak; their nodes do not tell. */
  constructor(address: ServiceAddress, scheme: 'http' | 'https', modules: DetectorModules) {
    this.#address = address;
    this.#scheme = scheme;
    this.#modules = modules;
  }

  /** Addresses of the one master that leads, best first; none when nobody leads. Rejects with `unavailable`. */
  async find(): Promise<readonly string[]> {
    const session = await this.#open();
    this.#watchLater();
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const names = await session.children(this.#address.path, this.#onWatch);
      if (names === null) {
        throw new StorageError(
          'unavailable',
          `No masters are known: ${this.#name} does not exist; is the path right?`,
        );
      }
      const leader = names.filter((name) => name.startsWith(LABEL)).sort(bySequence)[0];
      if (leader === undefined) return this.#note([]);
      const node = await session.get(`${this.#address.path}/${leader}`);
      if (node !== null) return this.#note(mastersOf(node.data, this.#scheme, leader));
    }
    return this.#note([]);
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    void this.#session?.then((session) => session.close()).catch(() => undefined);
  }

  get #name(): string {
    return `zk://${this.#address.servers.join(',')}${this.#address.path}`;
  }

  #note(masters: readonly string[]): readonly string[] {
    const isNew = masters.join() !== this.#found.join();
    // Nobody leads for a moment at every failover: what we have may as well go on.
    if (isNew && masters.length > 0) {
      this.#modules.log('info', 'Mesos master found', { master: masters[0], at: this.#name });
      this.#found = masters;
      this.#modules.onChange(masters);
    }
    return masters;
  }

  async #look(): Promise<void> {
    if (this.#isClosed) return;
    try {
      await this.find();
    } catch (error) {
      this.#modules.log('info', 'Cannot look for Mesos masters', { reason: describeError(error) });
    }
  }

  #watchLater(): void {
    this.#timer?.cancel();
    if (!this.#isClosed) this.#timer = this.#modules.clock.after(LOOK_MS, () => void this.#look());
  }

  async #open(): Promise<ZooKeeperSession> {
    if (this.#isClosed) throw new StorageError('unavailable', 'The detector is closed');
    const opened = this.#session;
    const session = await opened?.catch(() => null);
    if (session !== null && session !== undefined && session.endReason === null) return session;
    // Somebody else asked at the same time, and has opened one.
    if (opened !== this.#session && this.#session !== null) return this.#session;
    this.#session = resolveServers(this.#address.servers).then(
      (servers) => new ZooKeeperSession(this.#address, servers, SESSION_MS, this.#modules),
    );
    return this.#session;
  }
}

function bySequence(a: string, b: string): number {
  return Number(a.slice(LABEL.length)) - Number(b.slice(LABEL.length));
}

/**
 * What a master's node says: the name first, since certificates hold names, then the address, since names
 * are not always known everywhere. `ip` as a number is left alone: its byte order is the master machine's.
 */
export function mastersOf(data: Buffer, scheme: 'http' | 'https', node: string): readonly string[] {
  let info: MasterNode;
  try {
    info = JSON.parse(data.toString('utf8')) as MasterNode;
  } catch (error) {
    throw new StorageError(
      'unavailable',
      `Master node "${node}" is no JSON: ${describeError(error)}`,
    );
  }
  const port = info?.address?.port ?? info?.port;
  const hosts = [
    info?.address?.hostname ?? info?.hostname,
    info?.address?.ip,
    hostOfPid(info?.pid),
  ];
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new StorageError('unavailable', `Master node "${node}" has port ${JSON.stringify(port)}`);
  }
  const urls = new Set<string>();
  for (const host of hosts) {
    if (typeof host !== 'string' || !/^[\w.:-]+$/.test(host)) continue;
    urls.add(`${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`);
  }
  if (urls.size === 0) throw new StorageError('unavailable', `Master node "${node}" names no host`);
  return [...urls];
}

interface MasterNode {
  readonly address?: {
    readonly hostname?: unknown;
    readonly ip?: unknown;
    readonly port?: unknown;
  };
  readonly hostname?: unknown;
  readonly port?: unknown;
  readonly pid?: unknown;
}

/** `master@127.0.0.1:5050`. */
function hostOfPid(pid: unknown): string | null {
  return typeof pid === 'string' ? (/^master@\[?([\w.:-]+?)\]?:\d+$/.exec(pid)?.[1] ?? null) : null;
}

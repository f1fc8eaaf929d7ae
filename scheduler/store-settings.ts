/** Which metadata store: settings → where it is and how we are let in. */
import { readFileSync } from 'node:fs';
import { describeError, invalidField } from '../shared/base/errors.ts';
import { readServiceAddress, type ServiceAddress } from './service-address.ts';

export type StoreSettings =
  | { readonly kind: 'embedded'; readonly directory: string }
  | {
      readonly kind: 'zookeeper';
      readonly address: ServiceAddress;
      readonly sessionMs: number;
    }
  | {
      readonly kind: 'etcd';
      readonly address: ServiceAddress;
      /** null: no TLS. */
      readonly tls: StoreTls | null;
      readonly sessionMs: number;
    };

/** PEM texts; null where the default serves. */
export interface StoreTls {
  readonly ca: Buffer | null;
  readonly certificate: Buffer | null;
  readonly key: Buffer | null;
}

/**
 * A leader that dies is followed after its session at most; and one that cannot reach the store for so
 * long steps down. ZooKeeper takes 2 to 20 of its ticks (of 2 s by default), and rounds up to a tick.
 */
const SESSION_MS = 6_000;
const SESSION_MS_MIN = 1_000;
const SESSION_MS_MAX = 60_000;

export interface StoreReader {
  /** Of an option or, as `CISTERN_…`, a variable; null when it is not set. */
  optionalText(option: string, variable: string): string | null;
  number(option: string, variable: string, fallback: number, low: number, high: number): number;
}

/**
 * `masters`: as given. With masters in ZooKeeper, the same ensemble keeps the metadata unless something else
 * is said. Throws `invalid-argument`.
 */
export function readStoreSettings(
  read: StoreReader,
  clusterName: string,
  masters: string,
  stateDirectory: string,
): StoreSettings {
  const field = '--store (CISTERN_STORE)';
  const text = read.optionalText('store', 'STORE');
  const sessionMs = read.number('', 'STORE_SESSION_MS', SESSION_MS, SESSION_MS_MIN, SESSION_MS_MAX);
  if (text === 'embedded') return { kind: 'embedded', directory: stateDirectory };
  if (text === null) {
    const isDirectoryNamed = read.optionalText('state-dir', 'STATE_DIR') !== null;
    if (isDirectoryNamed || !masters.startsWith('zk://')) {
      return { kind: 'embedded', directory: stateDirectory };
    }
    const {
      servers,
      credentials,
      path: masterPath,
    } = readServiceAddress('master', masters, ['zk']);
    const path = defaultPath(field, clusterName, masterPath);
    return { kind: 'zookeeper', address: { scheme: 'zk', servers, credentials, path }, sessionMs };
  }
  const given = readServiceAddress(field, text, ['zk', 'etcd', 'etcds']);
  const address: ServiceAddress = {
    ...given,
    credentials: readSecretFile(read, 'STORE_CREDENTIALS_FILE') ?? given.credentials,
    path: given.path === '' ? defaultPath(field, clusterName) : given.path,
  };
  if (address.scheme === 'zk') return { kind: 'zookeeper', address, sessionMs };
  return { kind: 'etcd', address, tls: readTls(read, address.scheme), sessionMs };
}

const USUAL_MASTER_PATH = '/mesos';

/** One ensemble may serve several Mesos clusters: theirs are other places, also under the same name. */
function defaultPath(field: string, clusterName: string, masterPath = USUAL_MASTER_PATH): string {
  if (!/^[\w.-]+$/.test(clusterName)) {
    throw invalidField(
      field,
      null,
      `an address with a path, since the cluster's name "${clusterName}" makes none`,
    );
  }
  const place = masterPath === USUAL_MASTER_PATH ? '' : masterPath;
  return `/cistern${place}/${clusterName}`;
}

function readTls(read: StoreReader, scheme: string): StoreTls | null {
  const ca = readFile(read, 'STORE_CA_FILE');
  const certificate = readFile(read, 'STORE_CERT_FILE');
  const key = readFile(read, 'STORE_KEY_FILE');
  if (scheme === 'etcds') {
    if ((certificate === null) !== (key === null)) {
      throw invalidField('CISTERN_STORE_KEY_FILE', null, 'both a certificate and its key, or none');
    }
    return { ca, certificate, key };
  }
  if (ca !== null || certificate !== null || key !== null) {
    throw invalidField('--store (CISTERN_STORE)', scheme, 'etcds:// with files for TLS');
  }
  return null;
}

/** A file keeps the password out of the process list and of Marathon's environment. */
function readSecretFile(read: StoreReader, variable: string): string | null {
  const text = readFile(read, variable)?.toString('utf8').trim() ?? null;
  if (text !== null && !/^[^:]+:.+$/.test(text)) {
    throw invalidField(`CISTERN_${variable}`, 'its content', 'one line, user:password');
  }
  return text;
}

function readFile(read: StoreReader, variable: string): Buffer | null {
  const path = read.optionalText('', variable);
  if (path === null) return null;
  try {
    return readFileSync(path);
  } catch (error) {
    throw invalidField(`CISTERN_${variable}`, path, describeError(error));
  }
}

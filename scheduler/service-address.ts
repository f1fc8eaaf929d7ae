/**
 * Addresses of coordination services, as Mesos writes them: `zk://[user:password@]host[:port],…/path`. The
 * same form serves etcd. Passwords with `@`, `/` or `:` are percent-encoded.
 */
import { invalidField } from '../shared/base/errors.ts';

export interface ServiceAddress {
  /** `zk`, `etcd`, `etcds`. */
  readonly scheme: string;
  /** `host:port` each; at least one. */
  readonly servers: readonly string[];
  /** `user:password`; null for none. */
  readonly credentials: string | null;
  /** Absolute, without a slash at the end; empty when none was given. */
  readonly path: string;
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { zk: 2181, etcd: 2379, etcds: 2379 };
/** More are a mistake; a quorum of seven is large already. */
const SERVERS_MAX = 20;

/** `field`: the setting's name. Throws `invalid-argument`; its message never holds the password. */
export function readServiceAddress(
  field: string,
  text: string,
  schemes: readonly string[],
): ServiceAddress {
  const allowed = `${schemes.map((scheme) => `${scheme}://host:port,…/path`).join(' or ')}, with user:password@ before the hosts when needed`;
  const shown = text.replace(/\/\/[^@/]*@/, '//…@');
  const match = /^([a-z]+):\/\/(?:([^@/]*)@)?([^/@]+)(\/.*)?$/.exec(text);
  const scheme = match?.[1] ?? '';
  if (match === null || !schemes.includes(scheme)) throw invalidField(field, shown, allowed);
  const credentials = readCredentials(match[2]);
  if (credentials === undefined) throw invalidField(field, shown, allowed);
  const servers = (match[3] ?? '').split(',').map((server) => {
    const whole = /:\d+$/.test(server) ? server : `${server}:${DEFAULT_PORTS[scheme]}`;
    const parts = /^([\w.-]+|\[[0-9a-f:.]+\]):(\d{1,5})$/i.exec(whole);
    if (parts === null || Number(parts[2]) > 65_535) throw invalidField(field, shown, allowed);
    return whole;
  });
  if (servers.length > SERVERS_MAX)
    throw invalidField(field, shown, `${SERVERS_MAX} hosts at most`);
  const path = (match[4] ?? '').replace(/\/+$/, '');
  if (!/^(\/[\w.-]+)*$/.test(path) || /\/\.{1,2}(\/|$)/.test(path)) {
    throw invalidField(field, shown, 'a path of letters, digits, dots, dashes and underscores');
  }
  return { scheme, servers, credentials, path };
}

/** Undefined: it is none. */
function readCredentials(text: string | undefined): string | null | undefined {
  if (text === undefined) return null;
  const cut = text.indexOf(':');
  if (cut < 1 || cut === text.length - 1) return undefined;
  try {
    return `${decodeURIComponent(text.slice(0, cut))}:${decodeURIComponent(text.slice(cut + 1))}`;
  } catch {
    // A per cent sign that encodes nothing.
    return undefined;
  }
}

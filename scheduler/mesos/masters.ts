/** Addresses of masters: what operators write, and what masters answer when another one leads. */
import { StorageError } from '../../shared/base/errors.ts';
import type { MesosTarget } from '../../shared/node/mesos-connection.ts';

export const SCHEDULER_PATH = '/api/v1/scheduler';

/** Reads `host:port`, `http://host:port` or `https://host:port`. Throws `invalid-argument`. */
export function masterTarget(text: string): MesosTarget {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = parseUrl(withScheme);
  if (url === null || !isHttp(url) || url.hostname === '') {
    throw new StorageError(
      'invalid-argument',
      `Mesos master is "${text}", expected "host:port", "http://host:port" or "https://host:port"`,
      { field: 'master', given: text },
    );
  }
  // Without a port the scheme's own would be taken, which no master listens on by itself.
  const hasPort = /:\d+\/?$/.test(withScheme.replace(/[?#].*$/, '')) || url.port !== '';
  const origin = hasPort ? url.origin : `${url.protocol}//${url.hostname}:5050`;
  return { origin, path: SCHEDULER_PATH, socketPath: null };
}

/**
 * The target that a redirect names: `//host:port/path` (what masters send), a whole URL, or a bare
 * `host:port` (what the documentation shows). `null` when it names none, or when it would leave TLS and
 * so show our credentials to the network.
 */
export function redirectTarget(from: MesosTarget, location: string): MesosTarget | null {
  const bare = /^(\[[0-9a-f:.]+\]|[A-Za-z0-9._-]+):\d+(\/|$)/i.test(location);
  const url = parseUrl(bare ? `//${location}` : location, `${from.origin}${from.path}`);
  if (url === null || location === '' || !isHttp(url)) return null;
  if (from.origin.startsWith('https:') && url.protocol !== 'https:') return null;
  const path = url.pathname === '/' ? SCHEDULER_PATH : url.pathname;
  return { origin: url.origin, path, socketPath: null };
}

function isHttp(url: URL): boolean {
  return url.protocol === 'http:' || url.protocol === 'https:';
}

function parseUrl(text: string, base?: string): URL | null {
  try {
    return new URL(text, base);
  } catch {
    // The caller says what it expected; the parser only says "Invalid URL".
    return null;
  }
}

/**
 * Where the operator API is: `--api`, else `CISTERN_API`, else the development cluster of this user,
 * which writes its address to `cluster.json` in `CISTERN_DEV_DIR` (default `~/.cistern/dev`). Several
 * schedulers are named with commas between them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { devDirectory } from '../dev/cluster/layout.ts';
import { invalidField } from '../shared/base/errors.ts';
import { unreachableError } from './failures.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** At least one, without trailing slashes. Throws a usage error for what is no URL, "unreachable" when none is known. */
export function resolveApi(given: string | undefined, environment: Environment): readonly string[] {
  if (given !== undefined) return checkUrls('--api', given);
  const fromEnvironment = environment['CISTERN_API'];
  if (fromEnvironment) return checkUrls('CISTERN_API', fromEnvironment);
  const path = join(devDirectory(environment), 'cluster.json');
  const address = readAddress(path);
  if (address !== null) return checkUrls(path, address);
  throw unreachableError(
    `No cluster to talk to: neither --api nor CISTERN_API is set, and no development cluster is recorded in "${path}"`,
    'start one with "cistern dev up", or give the address: --api http://HOST:PORT',
  );
}

function checkUrls(source: string, given: string): readonly string[] {
  return given.split(',').map((one) => checkUrl(source, one.trim()));
}

function checkUrl(source: string, given: string): string {
  const text = given.includes('://') ? given : `http://${given}`;
  if (URL.canParse(text) && /^https?:/.test(text)) return text.replace(/\/+$/, '');
  throw invalidField(source, given, 'an address like http://127.0.0.1:8080');
}

function readAddress(path: string): string | null {
  try {
    const state: unknown = JSON.parse(readFileSync(path, 'utf8'));
    const api = typeof state === 'object' && state !== null && 'api' in state ? state.api : null;
    return typeof api === 'string' ? api : null;
  } catch {
    // Absent or half written: the same to somebody who wants to reach a cluster.
    return null;
  }
}

/** Cistern's own part of the executor's environment; Mesos' part is in `mesos-environment.ts`. */
import { invalidField } from '../shared/base/errors.ts';
import type { LogLevel } from '../shared/ports.ts';

export interface NodeSettings {
  /** Address that this node listens on and names to the others. */
  readonly host: string;
  /** Folder for the volumes' unix sockets; short, since a socket's path has at most 107 bytes. */
  readonly socketBase: string;
  /** How long I/O is held before it fails with EIO. */
  readonly holdMs: number;
  readonly logLevel: LogLevel;
}

/** 30 s beyond the detection of a dead node, which takes about five. */
const HOLD_SECONDS_DEFAULT = 35;

/** An agent that listens on all its addresses names none by which others could reach it. */
function isReachable(host: string | undefined): boolean {
  return host !== undefined && !['', '0.0.0.0', '::', '[::]'].includes(host);
}

/** Throws `invalid-argument`, naming the variable. */
export function readNodeSettings(
  variables: Readonly<Record<string, string | undefined>>,
): NodeSettings {
  const level = variables['CISTERN_LOG_LEVEL'] ?? 'info';
  if (level !== 'error' && level !== 'warn' && level !== 'info' && level !== 'debug') {
    throw invalidField('CISTERN_LOG_LEVEL', level, 'error, warn, info, debug');
  }
  const hold = Number(variables['CISTERN_HOLD_SECONDS'] ?? HOLD_SECONDS_DEFAULT);
  if (!Number.isFinite(hold) || hold < 1 || hold > 86_400) {
    throw invalidField('CISTERN_HOLD_SECONDS', variables['CISTERN_HOLD_SECONDS'], '1 to 86400');
  }
  const endpoint = variables['MESOS_AGENT_ENDPOINT'] ?? '';
  const host =
    variables['CISTERN_NODE_HOST'] ??
    [variables['LIBPROCESS_IP'], endpoint.replace(/:\d+$/, '')].find(isReachable) ??
    '';
  if (host === '') {
    throw invalidField('CISTERN_NODE_HOST', null, 'an address of this node that the others reach');
  }
  return {
    host,
    socketBase: variables['CISTERN_SOCKET_DIR'] ?? '/run/cistern',
    holdMs: hold * 1000,
    logLevel: level,
  };
}

/**
 * The processes of a test cluster, as the kernel shows them: who belongs to a directory, who is whose
 * child, and who listens where. Linux only, like the product.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Pids of all processes whose command line or environment names the directory. */
export function processesOf(directory: string): readonly number[] {
  return allPids().filter((pid) => {
    if (pid === process.pid) return false;
    return [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`].some((path) =>
      readQuietly(path).includes(directory),
    );
  });
}

export function childrenOf(parent: number): readonly number[] {
  return allPids().filter((pid) => parentOf(pid) === parent);
}

/** Ports on which a process listens, ascending. */
export function listeningPorts(pid: number): readonly number[] {
  const inodes = new Set(
    namesIn(`/proc/${pid}/fd`).flatMap((fd) => {
      const target = linkTarget(`/proc/${pid}/fd/${fd}`);
      const match = /^socket:\[(\d+)\]$/.exec(target);
      return match?.[1] === undefined ? [] : [match[1]];
    }),
  );
  const ports = new Set<number>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of readQuietly(table).split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      const [, local, , state] = fields;
      if (state !== TCP_LISTEN || !inodes.has(fields[9] ?? '')) continue;
      ports.add(Number.parseInt(local?.split(':')[1] ?? '0', 16));
    }
  }
  return [...ports].sort((a, b) => a - b);
}

const TCP_LISTEN = '0A';

/** Gone already is as good. */
export function signalQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // ESRCH: it ended by itself.
  }
}

function allPids(): readonly number[] {
  return namesIn('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** After the command's name, which may itself hold spaces and brackets: state, parent. */
function parentOf(pid: number): number {
  const stat = readQuietly(`/proc/${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? 0);
}

function namesIn(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // It ended while we looked.
  }
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // As above.
  }
}

function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // As above.
  }
}

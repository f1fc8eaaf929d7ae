/**
 * A machine of its own for a chaos run: network, mount and process namespaces, so that links can be cut, small
 * file systems mounted, and nothing is left behind, whatever happens to the run. Without the right to make them
 * (no root, a container that forbids it) the run goes on without, and leaves out the faults that need them.
 */
import { spawn, spawnSync } from 'node:child_process';

const MARK = 'CISTERN_CHAOS_ISOLATED';
const FLAGS = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'] as const;

/** What faults may count on. */
export function isIsolated(): boolean {
  return process.env[MARK] === '1';
}

/**
 * Runs this program again inside of fresh namespaces and resolves with its exit code; null when it runs there
 * already, or when the machine does not allow it.
 */
export async function runIsolated(): Promise<number | null> {
  if (isIsolated() || !canIsolate()) return null;
  // The shell stays the first process of the namespace: it takes in orphans, which node would not.
  const script = '"$@"; exit $?';
  const child = spawn(
    'unshare',
    [...FLAGS, 'sh', '-c', script, 'sh', process.execPath, ...process.argv.slice(1)],
    { stdio: 'inherit', env: { ...process.env, [MARK]: '1' } },
  );
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // Ctrl-C reaches the run by itself; for a killed parent everything dies at once.
    process.on(signal, () => (signal === 'SIGTERM' ? child.kill('SIGKILL') : undefined));
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

function canIsolate(): boolean {
  const probe =
    'ip link set lo up && ip link add probe0 type veth peer name probe1 && ip rule add to 1.2.3.4 blackhole';
  return (
    process.getuid?.() === 0 &&
    spawnSync('unshare', [...FLAGS, 'sh', '-c', `${probe}; exit $?`], { stdio: 'ignore' })
      .status === 0
  );
}

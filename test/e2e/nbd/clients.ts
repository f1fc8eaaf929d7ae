/**
 * Real NBD clients for tests, and a server for them. A client that is not installed fails the test
 * with the package to install: a test that is skipped proves nothing.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NbdExport } from '../../../executor/gateway/nbd/nbd-handshake.ts';
import { NbdListener } from '../../../executor/gateway/nbd/nbd-listener.ts';
import type { ReceiveMode } from '../../../shared/node/socket-receive.ts';
import { MemoryDevice, type MemoryDeviceOptions } from './memory-device.ts';

/** Debian's names. */
const PACKAGES: Readonly<Record<string, string>> = {
  nbdinfo: 'libnbd-bin',
  nbdcopy: 'libnbd-bin',
  nbdsh: 'python3-libnbd',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  fio: 'fio',
};

/** A client that hangs is killed, and the test says so. */
const CLIENT_DEADLINE_MS = 120_000;

export interface ClientRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Working directory: some clients leave files behind. */
  readonly cwd: string;
  readonly signal?: AbortSignal;
}

/** Runs a client to its end, whatever the end. */
export function runClient(
  command: string,
  args: readonly string[],
  options: RunOptions,
): Promise<ClientRun> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      // nbdsh needs the system's own Python, whatever else is installed before it.
      env: { ...process.env, PATH: `/usr/bin:${process.env['PATH'] ?? ''}` },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const kill = (): void => {
      child.kill('SIGKILL');
    };
    const deadline = setTimeout(() => {
      stderr += `\nKilled after ${CLIENT_DEADLINE_MS} ms`;
      kill();
    }, CLIENT_DEADLINE_MS);
    options.signal?.addEventListener('abort', kill);
    child.on('error', (error) => {
      clearTimeout(deadline);
      const install = `apt-get install ${PACKAGES[command] ?? command}`;
      reject(new Error(`Running "${command}" failed (${error.message}); install it: ${install}`));
    });
    child.on('close', (code) => {
      clearTimeout(deadline);
      resolve({ code, stdout, stderr });
    });
  });
}

/** Runs a client that has to succeed; returns what it printed. */
export async function expectClient(
  command: string,
  args: readonly string[],
  options: RunOptions,
): Promise<string> {
  const run = await runClient(command, args, options);
  if (run.code !== 0) {
    const output = `${run.stdout}\n${run.stderr}`.slice(-2000);
    throw new Error(`"${command} ${args.join(' ')}" ended with ${run.code}:\n${output}`);
  }
  return run.stdout;
}

export interface TestServer {
  readonly directory: string;
  readonly device: MemoryDevice;
  readonly listener: NbdListener;
  /** Over the unix socket, and over TCP. */
  readonly unixUri: string;
  readonly tcpUri: string;
  readonly port: number;
  close(): Promise<void>;
}

export interface TestServerOptions extends MemoryDeviceOptions {
  readonly receiveMode?: ReceiveMode;
  readonly handshakeTimeoutMs?: number;
  readonly moreExports?: readonly NbdExport[];
}

/** One memory device as export "vol" (the default one) on a unix socket and a TCP port. */
export async function startServer(options: TestServerOptions): Promise<TestServer> {
  const directory = await mkdtemp(join(tmpdir(), 'nbd-test-'));
  const device = new MemoryDevice(options);
  const all = [
    { name: 'vol', description: 'A volume in memory', device },
    ...(options.moreExports ?? []),
  ];
  const listener = new NbdListener(
    {
      find: (name) => all.find((entry) => entry.name === (name === '' ? 'vol' : name)) ?? null,
      list: () => all,
    },
    {
      log: () => undefined,
      ...(options.receiveMode === undefined ? {} : { receiveMode: options.receiveMode }),
      ...(options.handshakeTimeoutMs === undefined
        ? {}
        : { handshakeTimeoutMs: options.handshakeTimeoutMs }),
    },
  );
  const unix = await listener.listen({ path: join(directory, 'vol.sock'), export: 'vol' });
  const tcp = await listener.listen({ host: '127.0.0.1', port: 0 });
  return {
    directory,
    device,
    listener,
    unixUri: unix.uri,
    tcpUri: tcp.uri,
    port: Number(tcp.address.split(':')[1]),
    close: async () => {
      await listener.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Polls until `condition` holds; the deadline is for tests that fail, not for slow machines. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

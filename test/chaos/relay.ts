/**
 * A volume at one address, wherever it is attached: a socket that leads each new connection to where the volume
 * is served now, and behind it `qemu-nbd`, which connects again and repeats requests when a connection breaks, as
 * the kernel's client does. So fio and nbdfuse, which cannot, live through the end of a gateway.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { waitFor } from '../../dev/demo/api-client.ts';

/** Longer than any fault and its healing: what comes later is a failure. */
const RECONNECT_SECONDS = 300;
const START_DEADLINE_MS = 30_000;

export class Relay {
  readonly uri: string;
  readonly #server: Server;
  readonly #qemu: ChildProcess;
  readonly #sockets = new Set<Socket>();

  private constructor(uri: string, server: Server, qemu: ChildProcess) {
    this.uri = uri;
    this.#server = server;
    this.#qemu = qemu;
  }

  static async open(
    volume: string,
    directory: string,
    locate: () => Promise<string | null>,
  ): Promise<Relay> {
    const inner = join(directory, `${volume}-relay.sock`);
    const outer = join(directory, `${volume}-qemu.sock`);
    for (const path of [inner, outer]) rmSync(path, { force: true });
    const server = createServer((client) => {
      void lead(client, locate, relay.#sockets);
    });
    await new Promise<void>((resolve) => server.listen(inner, resolve));
    const image = `driver=nbd,server.type=unix,server.path=${inner},export=${volume},reconnect-delay=${RECONNECT_SECONDS}`;
    const qemu = spawn(
      'qemu-nbd',
      [
        '--socket',
        outer,
        '--export-name',
        volume,
        '--persistent',
        '--shared=4',
        '--discard=unmap',
        '--image-opts',
        image,
      ],
      { stdio: 'ignore' },
    );
    const relay = new Relay(`nbd+unix:///${volume}?socket=${outer}`, server, qemu);
    await waitFor(`qemu-nbd to serve "${volume}"`, START_DEADLINE_MS, async () =>
      existsSync(outer) ? true : null,
    );
    return relay;
  }

  /** The next connection leads to where the volume is now. */
  relocate(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.#qemu.kill('SIGKILL');
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

/** Both sides end together. */
async function lead(
  client: Socket,
  locate: () => Promise<string | null>,
  open: Set<Socket>,
): Promise<void> {
  const uri = await locate().catch(() => null);
  if (uri === null) {
    client.destroy();
    return;
  }
  const url = new URL(uri);
  const path = url.searchParams.get('socket');
  const server = path === null ? connect(Number(url.port), url.hostname) : connect(path);
  for (const [one, other] of [
    [client, server],
    [server, client],
  ] as const) {
    open.add(one);
    one.on('error', () => other.destroy());
    one.on('close', () => {
      open.delete(one);
      other.destroy();
    });
    one.pipe(other);
  }
}

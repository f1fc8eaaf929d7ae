/**
 * A way over TCP that can be cut: what one process takes to another leads through here. While it is cut
 * nothing passes and nobody is told, as behind a dead switch; connections are neither refused nor reset.
 */

import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';

const HOST = '127.0.0.1';

export class Way {
  /** Where it begins: `host:port`. */
  readonly address: string;
  readonly #server: Server;
  readonly #target: () => string;
  readonly #pairs = new Set<Pair>();
  #isCut = false;

  private constructor(server: Server, target: () => string) {
    this.#server = server;
    this.#target = target;
    const { port } = server.address() as AddressInfo;
    this.address = `${HOST}:${port}`;
    server.on('connection', (near) => this.#lead(near));
  }

  /** `target` is asked for each connection: `host:port`; it may throw while there is none. */
  static async open(target: () => string): Promise<Way> {
    // A cut way is silent about the end of a connection, too.
    const server = createServer({ allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, HOST, resolve);
    });
    return new Way(server, target);
  }

  cut(): void {
    this.#isCut = true;
    for (const pair of this.#pairs) pair.freeze();
  }

  /** What was in flight is lost: a peer that waited so long has to connect again. */
  mend(): void {
    this.#isCut = false;
    for (const pair of [...this.#pairs]) pair.destroy();
  }

  close(): void {
    for (const pair of [...this.#pairs]) pair.destroy();
    this.#server.close();
  }

  #lead(near: Socket): void {
    const pair = new Pair(near, () => this.#pairs.delete(pair));
    this.#pairs.add(pair);
    if (this.#isCut) {
      pair.freeze();
      return;
    }
    try {
      const target = this.#target();
      const cut = target.lastIndexOf(':');
      pair.join(connect(Number(target.slice(cut + 1)), target.slice(0, cut)));
    } catch {
      // There is nothing at the other end yet.
      pair.destroy();
    }
  }
}

/** One connection: its near and its far end. */
class Pair {
  readonly #near: Socket;
  readonly #onGone: () => void;
  #far: Socket | null = null;
  #isFrozen = false;

  constructor(near: Socket, onGone: () => void) {
    this.#near = near;
    this.#onGone = onGone;
    this.#watch(near);
  }

  join(far: Socket): void {
    this.#far = far;
    this.#watch(far);
    this.#near.pipe(far, { end: false });
    far.pipe(this.#near, { end: false });
  }

  freeze(): void {
    this.#isFrozen = true;
    this.#near.unpipe();
    this.#far?.unpipe();
    // Bytes pile up in the kernel, as they would on the way.
    this.#near.pause();
    this.#far?.pause();
  }

  destroy(): void {
    this.#near.destroy();
    this.#far?.destroy();
    this.#onGone();
  }

  /** An end of one side is one of the other, unless nothing passes. */
  #watch(socket: Socket): void {
    const end = (): void => {
      if (!this.#isFrozen) this.destroy();
    };
    socket.on('error', end);
    socket.on('end', end);
    socket.on('close', end);
  }
}

/**
 * A TCP relay that can lose an answer: it lets a request through to the server, swallows what comes back
 * and breaks the connection. So a client must not know whether its request was done.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

export class AnswerEater {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #mark: string | null = null;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(target: string): Promise<AnswerEater> {
    const server = createServer({ noDelay: true });
    const eater = new AnswerEater(server);
    server.on('connection', (socket) => eater.#relay(socket, target));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return eater;
  }

  get address(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string')
      throw new Error('The relay does not listen');
    return `127.0.0.1:${address.port}`;
  }

  /** The next request with this text in it gets no answer. */
  eatAnswerTo(mark: string): void {
    this.#mark = mark;
  }

  get hasEaten(): boolean {
    return this.#mark === null;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #relay(client: Socket, target: string): void {
    const [host = '', port] = target.split(':');
    const server = connect(Number(port), host);
    let isEating = false;
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (bytes) => {
      if (this.#mark !== null && bytes.includes(this.#mark)) {
        this.#mark = null;
        isEating = true;
      }
      server.write(bytes);
    });
    server.on('data', (bytes) => {
      // The first bytes back are the server's word that it has done it.
      if (isEating) client.destroy();
      else client.write(bytes);
    });
  }
}

/** One connection of a client of the replica server: its answers, and how many it waits for. */
import type { Connection, Timer } from '../../shared/ports.ts';
import { type DataFrame, replyTo, type Status } from '../../shared/wire/data-protocol.ts';

export class Session {
  readonly connection: Connection;
  readonly isLocal: boolean;
  isGreeted = false;
  isClosed = false;
  inFlight = 0;
  lastHeardMs = 0;
  timer: Timer | null = null;

  constructor(connection: Connection, isLocal: boolean) {
    this.connection = connection;
    this.isLocal = isLocal;
  }

  answer(reply: DataFrame): void {
    this.inFlight -= 1;
    if (!this.isClosed) this.connection.send(reply);
  }

  refuse(request: DataFrame, status: Status, aux: number): void {
    const reply = replyTo(request, status);
    reply.aux = aux;
    this.answer(reply);
  }

  end(): void {
    this.isClosed = true;
    this.timer?.cancel();
  }
}

/**
 * Ports that tell observers what passes through them, and change nothing: where the checkers look on.
 * Production code and simulated ports know nothing of this.
 */
import type { ControlDialer } from '../../../executor/node-agent.ts';
import type { ManagerMessage, NodeMessage } from '../../../shared/model/control.ts';
import type { Clock, Connection, ConnectionHandlers, Network } from '../../../shared/ports.ts';
import type { DataFrame } from '../../../shared/wire/data-protocol.ts';

/** Sees the frames of one connection, as its server gets and sends them. */
export interface ServerObserver {
  onRequest(frame: DataFrame): void;
  onReply(frame: DataFrame): void;
  onClose(): void;
}

/** Begins to look at a connection that `host` has accepted; `peer`: the address at its other end. */
export type ObserveServer = (host: string, peer: string) => ServerObserver;

export interface ControlObserver {
  /** `link` names one connection of a node to a manager. */
  onSent(link: object, message: NodeMessage): void;
  onDelivered(link: object, host: string, message: ManagerMessage): void;
  /** A peer granted what was asked for at `askedAtMs`. */
  onGranted(host: string, askedAtMs: number): void;
}

export function observeNetwork(network: Network, host: string, observe: ObserveServer): Network {
  return {
    connect: (address, handlers) => network.connect(address, handlers),
    listen: (address, accept) =>
      network.listen(address, (connection) =>
        observeServer(connection, observe(host, connection.peer), accept),
      ),
  };
}

function observeServer(
  connection: Connection,
  observer: ServerObserver,
  accept: (connection: Connection) => ConnectionHandlers,
): ConnectionHandlers {
  const handlers = accept({
    peer: connection.peer,
    get queuedBytes() {
      return connection.queuedBytes;
    },
    send: (frame) => {
      observer.onReply(frame);
      connection.send(frame);
    },
    close: (reason) => connection.close(reason),
  });
  return {
    onFrame: (frame) => {
      observer.onRequest(frame);
      handlers.onFrame(frame);
    },
    onClose: (reason) => {
      observer.onClose();
      handlers.onClose(reason);
    },
  };
}

export function observeDialer(
  dialer: ControlDialer,
  host: string,
  clock: Clock,
  observer: ControlObserver,
): ControlDialer {
  return {
    connect: (address, handlers) => {
      const name = {};
      const link = dialer.connect(address, {
        onMessage: (message) => {
          observer.onDelivered(name, host, message);
          handlers.onMessage(message);
        },
        onClose: (reason) => handlers.onClose(reason),
      });
      return {
        send: (message) => {
          observer.onSent(name, message);
          link.send(message);
        },
        close: (reason) => link.close(reason),
      };
    },
    askGrant: (address, request, timeoutMs, done) => {
      const askedAtMs = clock.now();
      dialer.askGrant(address, request, timeoutMs, (reply) => {
        if (reply?.isGranted === true) observer.onGranted(host, askedAtMs);
        done(reply);
      });
    },
  };
}

/** Adapter: the control server. Executors' streams become events of the manager, its effects messages. */
import grpc from '@grpc/grpc-js';
import { describeError, StorageError } from '../shared/base/errors.ts';
import type { ManagerMessage, NodeMessage } from '../shared/model/control.ts';
import type { ControlCodec } from '../shared/node/control-codec.ts';
import { CONTROL_CHANNEL_OPTIONS, sessionMethod } from '../shared/node/control-service.ts';
import type { Clock, Log } from '../shared/ports.ts';

export interface ControlServerHandlers {
  onMessage(session: string, message: NodeMessage): void;
  onClose(session: string, reason: string): void;
}

export interface ControlServer {
  /** `host:port` really bound. */
  readonly address: string;
  send(session: string, message: ManagerMessage): void;
  closeSession(session: string, reason: string): void;
  close(): void;
}

/** A stranger that connects and says nothing is dropped after this. */
const HELLO_DEADLINE_MS = 10_000;
/** More streams than any cluster has executors: a bound on strangers. */
const SESSIONS_MAX = 10_000;
/** A node that does not take its messages (about ten full maps) is cut off: it comes back for a full one. */
const QUEUED_MESSAGES_MAX = 4_096;

/**
 * Full maps that are on their way at a time. One of a large cluster is several MiB, and after a failover every
 * executor asks for one: the others wait for theirs here instead of in buffers of their own.
 */
const MAPS_AT_ONCE = 16;

type SessionCall = grpc.ServerDuplexStream<NodeMessage, ManagerMessage>;

interface Session {
  readonly id: string;
  readonly call: SessionCall;
  queued: number;
  isClosed: boolean;
  /** Behind a map that waits for its turn, in order; null while nothing waits. */
  waiting: ManagerMessage[] | null;
  /** A map was handed over and is not sent yet. */
  hasMapOut: boolean;
}

export async function serveControl(
  options: { readonly host: string; readonly port: number },
  modules: { readonly codec: ControlCodec; readonly clock: Clock; readonly log: Log },
  handlers: ControlServerHandlers,
): Promise<ControlServer> {
  const { clock, log } = modules;
  const sessions = new Map<string, Session>();
  let nextSession = 1;
  let mapsOut = 0;
  /** Sessions that wait for a map, longest first. */
  const gate: Session[] = [];

  const write = (session: Session, message: ManagerMessage): void => {
    const isMap = message.kind === 'map';
    if (isMap && !session.hasMapOut) {
      session.hasMapOut = true;
      mapsOut += 1;
    }
    session.call.write(message, () => {
      session.queued -= 1;
      if (isMap) noteMapSent(session);
    });
  };

  const noteMapSent = (session: Session): void => {
    if (!session.hasMapOut) return;
    session.hasMapOut = false;
    mapsOut -= 1;
    while (mapsOut < MAPS_AT_ONCE) {
      const next = gate.shift();
      if (next === undefined) return;
      const messages = next.waiting ?? [];
      next.waiting = null;
      if (!next.isClosed) for (const message of messages) write(next, message);
    }
  };

  const finish = (session: Session, reason: string): void => {
    if (session.isClosed) return;
    session.isClosed = true;
    sessions.delete(session.id);
    session.call.end();
    noteMapSent(session);
    handlers.onClose(session.id, reason);
  };

  const accept = (call: SessionCall): void => {
    if (sessions.size >= SESSIONS_MAX) {
      call.end();
      return;
    }
    const session: Session = {
      id: `s${nextSession}`,
      call,
      queued: 0,
      isClosed: false,
      waiting: null,
      hasMapOut: false,
    };
    nextSession += 1;
    sessions.set(session.id, session);
    let hasHello = false;
    const deadline = clock.after(HELLO_DEADLINE_MS, () => {
      if (!hasHello) finish(session, 'no hello came');
    });
    call.on('data', (message: NodeMessage) => {
      if (session.isClosed) return;
      if (!hasHello && message.kind !== 'hello') {
        finish(session, `first message is "${message.kind}", expected hello`);
        return;
      }
      hasHello = true;
      deadline.cancel();
      handlers.onMessage(session.id, message);
    });
    call.on('error', (error: Error) => {
      log('debug', 'Control stream failed', { session: session.id, error: error.message });
      finish(session, describeError(error));
    });
    call.on('end', () => finish(session, 'the executor ended the session'));
    call.on('cancelled', () => finish(session, 'the executor went away'));
  };

  const server = new grpc.Server(CONTROL_CHANNEL_OPTIONS);
  server.addService({ session: sessionMethod(modules.codec) }, { session: accept });
  const port = await bind(server, options.host, options.port);
  return {
    address: `${options.host}:${port}`,
    send(id, message) {
      const session = sessions.get(id);
      if (session === undefined) return;
      if (session.queued > QUEUED_MESSAGES_MAX) {
        finish(session, 'it does not take its messages');
        return;
      }
      session.queued += 1;
      if (session.waiting !== null) session.waiting.push(message);
      else if (message.kind === 'map' && mapsOut >= MAPS_AT_ONCE) {
        session.waiting = [message];
        gate.push(session);
      } else write(session, message);
    },
    closeSession(id, reason) {
      const session = sessions.get(id);
      if (session !== undefined) finish(session, reason);
    },
    close() {
      for (const session of [...sessions.values()]) {
        session.isClosed = true;
        session.call.end();
      }
      sessions.clear();
      server.forceShutdown();
    },
  };
}

function bind(server: grpc.Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`${host}:${port}`, grpc.ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else {
        reject(
          new StorageError(
            'unavailable',
            `Cannot listen for executors on "${host}:${port}": ${error.message}; is the port in use?`,
            { host, port },
            error,
          ),
        );
      }
    });
  });
}

/** Adapter: control links and lease grants over gRPC, the executor's side. */
import grpc from '@grpc/grpc-js';
import { describeError, StorageError } from '../shared/base/errors.ts';
import type { Announcement } from '../shared/model/announcement.ts';
import type {
  GrantReply,
  GrantRequest,
  ManagerMessage,
  NodeMessage,
} from '../shared/model/control.ts';
import type { NodeMemory } from '../shared/model/recall.ts';
import type { ControlCodec } from '../shared/node/control-codec.ts';
import {
  ANNOUNCE_METHOD,
  CONTROL_CHANNEL_OPTIONS,
  grantMethod,
  type Heard,
  RECALL_METHOD,
  type RecallRequest,
  sessionMethod,
} from '../shared/node/control-service.ts';
import type { ControlDialer, ControlLink, ControlLinkHandlers } from './node-agent.ts';

export function createControlDialer(codec: ControlCodec): ControlDialer & { close(): void } {
  const session = sessionMethod(codec);
  const grant = grantMethod(codec);
  const peers = new Map<string, grpc.Client>();
  return {
    connect: (address, handlers) => openSession(session, address, handlers),
    askGrant(address, request, timeoutMs, done) {
      let client = peers.get(address);
      if (client === undefined) {
        client = new grpc.Client(
          address,
          grpc.credentials.createInsecure(),
          CONTROL_CHANNEL_OPTIONS,
        );
        peers.set(address, client);
      }
      client.makeUnaryRequest<GrantRequest, GrantReply>(
        grant.path,
        grant.requestSerialize,
        grant.responseDeserialize,
        request,
        new grpc.Metadata(),
        { deadline: Date.now() + timeoutMs },
        (error, reply) => done(error === null ? (reply ?? null) : null),
      );
    },
    close() {
      for (const client of peers.values()) client.close();
      peers.clear();
    },
  };
}

function openSession(
  session: ReturnType<typeof sessionMethod>,
  address: string,
  handlers: ControlLinkHandlers,
): ControlLink {
  const client = new grpc.Client(
    address,
    grpc.credentials.createInsecure(),
    CONTROL_CHANNEL_OPTIONS,
  );
  const call = client.makeBidiStreamRequest<NodeMessage, ManagerMessage>(
    session.path,
    session.requestSerialize,
    session.responseDeserialize,
    new grpc.Metadata(),
    {},
  );
  let isClosed = false;
  const finish = (reason: string): void => {
    if (isClosed) return;
    isClosed = true;
    // After the caller's own stack, as the port promises.
    setImmediate(() => {
      client.close();
      handlers.onClose(reason);
    });
  };
  call.on('data', (message: ManagerMessage) => {
    if (!isClosed) handlers.onMessage(message);
  });
  call.on('error', (error) => finish(describeError(error)));
  call.on('end', () => finish('the manager ended the session'));
  call.on('close', () => finish('the stream was closed'));
  return {
    send(message) {
      if (!isClosed) call.write(message);
    },
    close(reason) {
      finish(reason);
      call.cancel();
    },
  };
}

export interface GrantServer {
  readonly address: string;
  close(): void;
}

/** What the executor answers where it listens for its peers. */
export interface PeerHandlers {
  onGrant(request: GrantRequest): GrantReply;
  onRecall(): Promise<NodeMemory>;
  onAnnouncement(announcement: Announcement): void;
}

/** Answers peers' requests for lease grants, recoveries, and new managers; `host` with any free port. */
export async function serveGrants(
  codec: ControlCodec,
  host: string,
  handlers: PeerHandlers,
): Promise<GrantServer> {
  const server = new grpc.Server(CONTROL_CHANNEL_OPTIONS);
  server.addService(
    { grant: grantMethod(codec), recall: RECALL_METHOD, announce: ANNOUNCE_METHOD },
    {
      recall: (
        _call: grpc.ServerUnaryCall<RecallRequest, NodeMemory>,
        done: grpc.sendUnaryData<NodeMemory>,
      ) => {
        handlers.onRecall().then(
          (memory) => done(null, memory),
          (error: unknown) =>
            done({ code: grpc.status.UNAVAILABLE, details: describeError(error) }, null),
        );
      },
      grant: (
        call: grpc.ServerUnaryCall<GrantRequest, GrantReply>,
        done: grpc.sendUnaryData<GrantReply>,
      ) => done(null, handlers.onGrant(call.request)),
      announce: (
        call: grpc.ServerUnaryCall<Announcement, Heard>,
        done: grpc.sendUnaryData<Heard>,
      ) => {
        handlers.onAnnouncement(call.request);
        done(null, {});
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${host}:0`, grpc.ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else {
        reject(
          new StorageError(
            'unavailable',
            `Cannot listen on "${host}" for grants: ${error.message}`,
          ),
        );
      }
    });
  });
  return { address: `${host}:${port}`, close: () => server.forceShutdown() };
}

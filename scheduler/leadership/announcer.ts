/** Adapter: tells executors over gRPC where this manager is; each time on a connection of its own. */
import grpc from '@grpc/grpc-js';
import { type Announcement, encodeAnnouncement } from '../../shared/model/announcement.ts';
import {
  ANNOUNCE_METHOD,
  CONTROL_CHANNEL_OPTIONS,
  type Heard,
} from '../../shared/node/control-service.ts';
import type { Log } from '../../shared/ports.ts';

/** It is said again after a second or more. */
const DEADLINE_MS = 2_000;

export function createAnnouncer(log: Log): {
  announce(to: string, announcement: Announcement): void;
} {
  return {
    announce(to, announcement) {
      const client = new grpc.Client(
        to,
        grpc.credentials.createInsecure(),
        CONTROL_CHANNEL_OPTIONS,
      );
      client.makeUnaryRequest<Announcement, Heard>(
        ANNOUNCE_METHOD.path,
        encodeAnnouncement,
        ANNOUNCE_METHOD.responseDeserialize,
        announcement,
        new grpc.Metadata(),
        { deadline: Date.now() + DEADLINE_MS },
        (error) => {
          client.close();
          // An executor before this version knows no such call: it hears of us through Mesos.
          if (error !== null) log('debug', 'Executor not told of us', { to, error: error.message });
        },
      );
    },
  };
}

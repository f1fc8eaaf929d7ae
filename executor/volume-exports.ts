/**
 * Adapter: the node's NBD server. Every volume served here has a unix socket of its own, and all of
 * them are reached by name over one TCP port.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { StorageError } from '../shared/base/errors.ts';
import type { MapVolume } from '../shared/model/cluster-map.ts';
import type { Log } from '../shared/ports.ts';
import type { StartExport } from './gateway/attachments.ts';
import type { BufferPool } from './gateway/buffer-pool.ts';
import type { NbdExport } from './gateway/nbd/nbd-handshake.ts';
import { type NbdEndpoint, NbdListener } from './gateway/nbd/nbd-listener.ts';

export interface VolumeExportsOptions {
  readonly host: string;
  /** 0 for any. */
  readonly port: number;
  /** Holds `<volume name>.sock`; created when absent. */
  readonly socketDirectory: string;
}

export interface VolumeExports {
  readonly port: number;
  readonly start: StartExport;
  /** Breaks all connections unanswered: the process ends, and another one will serve the volumes. */
  abandon(): Promise<void>;
  close(): Promise<void>;
}

/** Rejects with `unavailable` when the port is in use. `pool`: the gateways' own, so that reads need no allocation. */
export async function serveVolumes(
  options: VolumeExportsOptions,
  log: Log,
  pool: BufferPool,
): Promise<VolumeExports> {
  const served = new Map<string, NbdExport>();
  const listener = new NbdListener(
    {
      find: (name) => served.get(name) ?? null,
      list: () => [...served.values()],
    },
    { log, pool },
  );
  const tcp = await listener.listen({ host: options.host, port: options.port });
  makeSocketDirectory(options.socketDirectory);
  return {
    port: Number(tcp.address.slice(tcp.address.lastIndexOf(':') + 1)),
    async start(volume: MapVolume, device) {
      const { name } = volume;
      served.set(name, { name, description: `volume v${volume.id}`, device });
      const socketPath = join(options.socketDirectory, `${name}.sock`);
      let socket: NbdEndpoint;
      try {
        socket = await listener.listen({ path: socketPath, export: name });
      } catch (error) {
        served.delete(name);
        throw error;
      }
      return {
        socketPath,
        tcpUri: `${tcp.uri}${encodeURIComponent(name)}`,
        clientCount: () => listener.clientCount(name),
        async stop() {
          served.delete(name);
          await socket.close();
          await listener.closeExport(name, 'The volume is detached from this node');
        },
      };
    },
    abandon: () => listener.abandon(),
    close: () => listener.close(),
  };
}

function makeSocketDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw new StorageError(
      'unavailable',
      `Directory "${directory}" for the volumes' sockets cannot be created; name another with CISTERN_SOCKET_DIR`,
      { directory },
      error,
    );
  }
}

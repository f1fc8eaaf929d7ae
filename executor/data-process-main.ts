/**
 * Composition root of the data process: disks, replica server, resync and gateways on the real ports, driven
 * by the executor over Node's IPC channel. It ends when the executor does.
 */
import { randomUUID } from 'node:crypto';
import { describeError } from '../shared/base/errors.ts';
import { readBootId } from '../shared/node/boot-id.ts';
import { systemClock } from '../shared/node/clock.ts';
import { deviceTier } from '../shared/node/device-tier.ts';
import { LinuxDisk } from '../shared/node/linux-disk.ts';
import { LocalNetwork, routeNetwork } from '../shared/node/local-network.ts';
import { createLog } from '../shared/node/log.ts';
import { chooseReceiveMode } from '../shared/node/socket-receive.ts';
import { TcpNetwork } from '../shared/node/tcp-network.ts';
import type { Log, LogLevel } from '../shared/ports.ts';
import type { DataProcessStart, FromDataProcess, ToDataProcess } from './data-process-messages.ts';
import { openExtentStore } from './disk/extent-store-open.ts';
import { BufferPool } from './gateway/buffer-pool.ts';
import { NodeDataPlane } from './node-data-plane.ts';
import { serveVolumes, type VolumeExports } from './volume-exports.ts';

/** The executor's copy of the report is at most this old. */
const REPORT_MS = 500;

interface Running {
  readonly plane: NodeDataPlane;
  readonly exports: VolumeExports;
}

/** Serves until the executor says close, or is gone. */
export function runDataProcess(logLevel: LogLevel): void {
  const log = createLog({ part: 'data', level: logLevel });
  // Messages are handled in order: what comes while the start is under way waits for it.
  let running: Promise<Running | null> = Promise.resolve(null);
  process.on('message', (raw) => {
    const message = raw as ToDataProcess;
    if (message.kind === 'start') {
      running = start(message, log).catch((error: unknown) => {
        send({ kind: 'failed', reason: describeError(error) });
        return end(log, 'start failed', 1);
      });
    } else {
      running = running.then(async (parts) => {
        if (parts !== null) await handle(parts, message, log);
        return parts;
      });
    }
  });
  // The executor is gone, however it ended: without it there is no lease and no report.
  process.on('disconnect', () => process.exit(0));
  // Whoever stops the container decides; until then clients are served.
  process.on('SIGINT', () => undefined);
}

async function start(message: DataProcessStart, log: Log): Promise<Running> {
  const pool = new BufferPool();
  const exports = await serveVolumes(
    { host: message.host, port: message.nbdPort, socketDirectory: message.socketDirectory },
    log,
    pool,
  );
  const bootId = readBootId();
  const local = new LocalNetwork((action) => process.nextTick(action));
  const tcp = new TcpNetwork(await chooseReceiveMode());
  const plane = new NodeDataPlane(
    {
      clusterId: message.clusterId,
      incarnation: randomUUID(),
      listenAddress: `${message.host}:${message.dataPort}`,
      requestDeadlineMs: message.holdMs,
    },
    {
      clock: systemClock,
      log,
      network: routeNetwork(local, tcp),
      openStore: (disk) =>
        openExtentStore(
          {
            clusterId: message.clusterId,
            diskId: disk.id,
            uuid: disk.uuid,
            capacityBytes: disk.capacityBytes,
            create: true,
            bootId,
          },
          { disk: new LinuxDisk(disk.path), clock: systemClock, log },
        ),
      tierOf: (path) => deviceTier(path),
      startExport: exports.start,
      pool,
      resources: () => ({
        cpuSeconds: (process.cpuUsage().user + process.cpuUsage().system) / 1e6,
        memoryBytes: process.memoryUsage.rss(),
      }),
    },
  );
  const address = await plane.listen();
  send({
    kind: 'listening',
    dataPort: Number(address.slice(address.lastIndexOf(':') + 1)),
    nbdPort: exports.port,
  });
  const report = (isUrgent: boolean): void =>
    send({ kind: 'report', report: plane.report(), isUrgent });
  plane.onUrgent(() => report(true));
  setInterval(() => report(false), REPORT_MS);
  return { plane, exports };
}

async function handle(
  { plane, exports }: Running,
  message: Exclude<ToDataProcess, DataProcessStart>,
  log: Log,
): Promise<void> {
  switch (message.kind) {
    case 'add-disk':
      plane.addDisk(message.disk);
      break;
    case 'remove-disk':
      // Not waited for here: other messages must not wait with it.
      void plane.removeDisk(message.id).then(() => send({ kind: 'disk-closed', id: message.id }));
      break;
    case 'map':
      plane.applyMap(message.map, message.self);
      break;
    case 'lease':
      plane.extendLease(message.untilMs);
      break;
    case 'limits':
      plane.setLimits(message.limits);
      break;
    case 'scrubs':
      plane.setScrubs(message.orders);
      break;
    case 'keep-map':
      plane.keepMap(message.record);
      break;
    case 'recall': {
      const { question } = message;
      send({ kind: 'memory', question, memory: await plane.recall() });
      break;
    }
    case 'close':
      // Clients first: what the ending volumes would still say to them is an error.
      await exports.abandon();
      await plane.close();
      await exports.close();
      send({ kind: 'closed' });
      await end(log, 'asked to close', 0);
      break;
  }
}

function send(message: FromDataProcess): void {
  if (process.connected) process.send?.(message);
}

/** Gives the last message a moment to leave. */
function end(log: Log, reason: string, code: number): Promise<never> {
  log('info', 'Data process is ending', { reason });
  setTimeout(() => process.exit(code), 100);
  return new Promise(() => undefined);
}

/**
 * Three machines in one process, which have their power in common: each runs the production data plane on real
 * sockets, with one disk that is recorded. When power is lost, nothing runs any more: in the middle of a
 * disk's operation the record of every disk is made into what it may leave there, in fresh directories, and the
 * process kills itself. So no answer leaves that later work would have to keep.
 */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openExtentStore } from '../../../../executor/disk/extent-store-open.ts';
import { BufferPool } from '../../../../executor/gateway/buffer-pool.ts';
import { NodeDataPlane } from '../../../../executor/node-data-plane.ts';
import { serveVolumes } from '../../../../executor/volume-exports.ts';
import { diskId, nodeId } from '../../../../shared/base/ids.ts';
import { Prng } from '../../../../shared/base/prng.ts';
import { GiB } from '../../../../shared/base/units.ts';
import { systemClock } from '../../../../shared/node/clock.ts';
import { LinuxDisk } from '../../../../shared/node/linux-disk.ts';
import { LMDB_FILE } from '../../../../shared/node/lmdb-file.ts';
import { LocalNetwork, routeNetwork } from '../../../../shared/node/local-network.ts';
import { createLog } from '../../../../shared/node/log.ts';
import { chooseReceiveMode } from '../../../../shared/node/socket-receive.ts';
import { TcpNetwork } from '../../../../shared/node/tcp-network.ts';
import type { DiskEvent } from '../../../contract/crash-prefix/disk-events.ts';
import { DiskImage } from '../../../contract/crash-prefix/disk-image.ts';
import { RecordedDisk } from '../../../contract/crash-prefix/recorded-disk.ts';
import {
  CLUSTER_ID,
  type FromMachines,
  MACHINES,
  POWER_LOST_FILE,
  type PowerLost,
  type ToMachines,
} from './messages.ts';

type Start = Extract<ToMachines, { kind: 'start' }>;

/** Leases are the manager's subject; here nobody is ever cut off. */
const FOREVER_MS = 1e12;
/** Of a disk; a few times what the volume needs. */
const CAPACITY_BYTES = GiB;
const PIECE_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(PIECE_BYTES);
/** So that operations of one disk end in another order, and syncs are under way when power is lost. */
const LATE_CHANCE = 0.3;
const LATE_MS_MAX = 3;

let disks: readonly RecordedDisk[] = [];
let planes: readonly NodeDataPlane[] = [];
let eventsLeft = Number.POSITIVE_INFINITY;

process.on('disconnect', () => process.exit(0));
let running: Promise<void> = Promise.resolve();
process.on('message', (message: ToMachines) => {
  // An error ends the process with a trace, which the test prints.
  running = running.then(async () => {
    const answer = await handle(message);
    process.send?.(answer);
  });
});

async function handle(message: ToMachines): Promise<FromMachines> {
  switch (message.kind) {
    case 'start': {
      disks = Array.from({ length: MACHINES }, (_, index) => makeDisk(index, message));
      planes = await Promise.all(disks.map((disk, index) => startPlane(index, disk, message)));
      const addresses = await Promise.all(planes.map((plane) => plane.listen()));
      for (const [index, plane] of planes.entries()) {
        plane.extendLease(FOREVER_MS);
        const path = disks[index]?.path ?? '';
        const id = diskId(index + 1);
        plane.addDisk({ id, uuid: `u${id}`, path, capacityBytes: CAPACITY_BYTES });
      }
      return { kind: 'listening', addresses };
    }
    case 'map':
      for (const [index, plane] of planes.entries()) {
        plane.applyMap(message.map, nodeId(index + 1));
      }
      return { kind: 'done' };
    case 'report':
      return { kind: 'reports', reports: planes.map((plane) => plane.report()) };
    case 'lose-power':
      eventsLeft = message.afterEvents;
      return { kind: 'done' };
  }
}

function makeDisk(index: number, start: Start): RecordedDisk {
  const prng = new Prng(`${start.seed} machine ${index}`);
  const inner = new LinuxDisk(join(start.disks, `disk${index + 1}`));
  const late = prng.fork('late');
  const disk = new RecordedDisk(inner, prng.fork('disk'), {
    beforeEvent: (event) => {
      eventsLeft -= 1;
      if (eventsLeft < 0) losePower(start, { disk, event });
    },
    deliver: (report) => {
      if (late.chance(LATE_CHANCE)) setTimeout(report, late.between(1, LATE_MS_MAX));
      else setImmediate(report);
    },
  });
  disk.events.push(...recordOf(inner));
  return disk;
}

async function startPlane(index: number, disk: RecordedDisk, start: Start): Promise<NodeDataPlane> {
  const log = createLog({ part: `machine${index + 1}`, level: 'warn' });
  const pool = new BufferPool();
  const { socketDirectory } = start;
  const exports = await serveVolumes({ host: '127.0.0.1', port: 0, socketDirectory }, log, pool);
  const local = new LocalNetwork((action) => process.nextTick(action));
  const tcp = new TcpNetwork(await chooseReceiveMode());
  return new NodeDataPlane(
    {
      clusterId: CLUSTER_ID,
      incarnation: `${start.bootId} ${index}`,
      listenAddress: '127.0.0.1:0',
    },
    {
      clock: systemClock,
      log,
      network: routeNetwork(local, tcp),
      openStore: ({ id, uuid, capacityBytes }) =>
        openExtentStore(
          {
            clusterId: CLUSTER_ID,
            diskId: id,
            uuid,
            capacityBytes,
            create: true,
            bootId: start.bootId,
          },
          { disk, clock: systemClock, log },
        ),
      startExport: exports.start,
      pool,
      resources: () => ({ cpuSeconds: 0, memoryBytes: 0 }),
    },
  );
}

/** Never returns. */
function losePower(
  start: Start,
  last: { readonly disk: RecordedDisk; readonly event: DiskEvent },
): void {
  const events = disks.reduce((sum, disk) => sum + disk.events.length, 0);
  const images = disks.map(imageOf);
  for (const [turn, outcome] of start.outcomes.entries()) {
    for (const [index, disk] of disks.entries()) {
      const image = images[index]?.copy() ?? new DiskImage();
      const next = disk === last.disk ? last.event : undefined;
      image.crash('power', next, new Prng(`${start.seed} outcome ${turn} of disk ${index}`));
      const path = join(outcome, `disk${index + 1}`);
      mkdirSync(path, { recursive: true });
      image.writeOut(path);
    }
    const lost: PowerLost = { next: last.event.kind, events };
    writeFileSync(join(outcome, POWER_LOST_FILE), JSON.stringify(lost));
  }
  process.kill(process.pid, 'SIGKILL');
  // The signal comes at the next system call at the latest; nothing may happen in between.
  for (;;) statSync(start.disks);
}

function imageOf(disk: RecordedDisk): DiskImage {
  const image = new DiskImage();
  const path = join(disk.path, 'index', LMDB_FILE);
  for (const event of disk.events) {
    // LMDB's thread is still writing, and never over what the last commit needs: its file is good at any time.
    if (event.kind === 'commit' && event.after.bytes.length === 0) {
      event.after.bytes = readFileSync(path);
    }
    image.apply(event);
  }
  return image;
}

/** What lies in the directory already, as a record of it: all of it durable. */
function recordOf(disk: LinuxDisk): DiskEvent[] {
  const events: DiskEvent[] = [];
  for (const name of disk.list()) {
    const path = join(disk.path, name);
    if (name === `index/${LMDB_FILE}`) events.push({ kind: 'index', bytes: readFileSync(path) });
    if (name.startsWith('index') || !statSync(path).isFile()) continue;
    events.push({ kind: 'create', name });
    const content = readFileSync(path);
    for (let offset = 0; offset < content.length; offset += PIECE_BYTES) {
      const bytes = content.subarray(offset, offset + PIECE_BYTES);
      if (bytes.equals(ZEROS.subarray(0, bytes.length))) continue;
      events.push({ kind: 'write', id: 0, name, offset, bytes });
    }
    events.push({ kind: 'truncate', id: 0, name, size: content.length });
    events.push({ kind: 'end', id: 0 }, { kind: 'sync', id: -1, name }, { kind: 'end', id: -1 });
  }
  return events;
}

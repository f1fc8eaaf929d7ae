/**
 * The replica server of one node: sessions of gateways and of other replicas, dispatch by disk, the
 * checks of membership.ts in front of every store call. All its state that matters is in the stores.
 *
 * Checks in this order: the disk is served here, the lease is held, the disk works and has the memory that
 * the map knows, epoch and membership, generation. Gateways read from in-sync replicas only; a joining one takes writes and
 * marks their blocks fresh.
 */
import type { DiskId, NodeId, VolumeId } from '../../shared/base/ids.ts';
import type { Clock, Connection, ConnectionHandlers, Log } from '../../shared/ports.ts';
import {
  DATA_VERSION,
  DataFrame,
  FLAG,
  nameOf,
  OP,
  replyTo,
  STATUS,
} from '../../shared/wire/data-protocol.ts';
import type { Lease } from '../lease.ts';
import type { MapIndex } from '../map-index.ts';
import { encodeHello, readHello } from '../peer/hello.ts';
import { BlockOperations } from './block-operations.ts';
import { checkGeneration, checkMembership, isOfThisMemory, type Role } from './membership.ts';
import type { ReplicaDisk } from './replica-disk.ts';
import { Session } from './session.ts';
import {
  answerList,
  answerMeta,
  answerPull,
  type BlockPlace,
  takeClean,
} from './source-operations.ts';

export interface ReplicaServerOptions {
  readonly clusterId: string;
  readonly self: NodeId;
}

export interface ReplicaServerModules {
  readonly clock: Clock;
  readonly log: Log;
  readonly map: MapIndex;
  readonly lease: Lease;
}

/** A client that has been silent for so long is gone: clients ping every second. */
const IDLE_MS_MAX = 15_000;
/** Requests of one connection being carried out; a well-behaved client stays below a tenth of it. */
const IN_FLIGHT_MAX = 65_536;

export class ReplicaServer {
  readonly disks = new Map<DiskId, ReplicaDisk>();
  readonly #options: ReplicaServerOptions;
  readonly #modules: ReplicaServerModules;
  readonly #blocks = new BlockOperations();
  /** Gateway requests served so far: resync looks at it to see whether the foreground is busy. */
  foregroundCount = 0;
  /** Told of ranges in which a block is bad (block-healer.ts). */
  onBad: (disk: DiskId, pg: number, place: BlockPlace) => void = () => undefined;

  constructor(options: ReplicaServerOptions, modules: ReplicaServerModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** For `Network.listen`. `isLocal`: reply bodies are handed over, not copied into a stream. */
  accept(connection: Connection, isLocal: boolean): ConnectionHandlers {
    const session = new Session(connection, isLocal);
    this.#watch(session);
    return {
      onFrame: (frame) => this.#onFrame(session, frame),
      onClose: () => session.end(),
    };
  }

  /** Before anything is served under a new map, or by a disk that was just opened. */
  compareMemories(): void {
    const { map } = this.#modules;
    for (const disk of this.disks.values()) disk.compareMemory(map.disks.get(disk.id)?.incarnation);
  }

  #watch(session: Session): void {
    const { clock } = this.#modules;
    session.lastHeardMs = clock.now();
    const check = (): void => {
      if (session.isClosed) return;
      if (clock.now() - session.lastHeardMs > IDLE_MS_MAX) {
        session.connection.close(`Nothing heard for ${IDLE_MS_MAX} ms`);
      } else session.timer = clock.after(IDLE_MS_MAX / 3, check);
    };
    session.timer = clock.after(IDLE_MS_MAX / 3, check);
  }

  #onFrame(session: Session, frame: DataFrame): void {
    session.lastHeardMs = this.#modules.clock.now();
    if (!session.isGreeted) {
      this.#greet(session, frame);
      return;
    }
    if ((frame.flags & FLAG.reply) !== 0 || frame.op === OP.hello) {
      session.connection.close(`Unexpected frame with op ${nameOf(OP, frame.op)}`);
      return;
    }
    if (frame.op === OP.ping) {
      session.connection.send(replyTo(frame, STATUS.ok));
      return;
    }
    if (session.inFlight >= IN_FLIGHT_MAX) {
      session.connection.close(`More than ${IN_FLIGHT_MAX} requests at once`);
      return;
    }
    session.inFlight += 1;
    this.#serve(session, frame);
  }

  #greet(session: Session, frame: DataFrame): void {
    const hello = readHello(frame);
    const { clusterId, self } = this.#options;
    if (hello === null) {
      session.connection.close('The first frame is no valid hello');
      return;
    }
    if (hello.clusterId !== clusterId) {
      this.#modules.log('warn', 'Refused a connection of another cluster', {
        peer: session.connection.peer,
        cluster: hello.clusterId,
      });
      session.connection.close(`Hello is of cluster "${hello.clusterId}", expected "${clusterId}"`);
      return;
    }
    session.isGreeted = true;
    const answer = encodeHello({ clusterId, node: self, protocol: DATA_VERSION }, true);
    answer.requestId = frame.requestId;
    session.connection.send(answer);
  }

  #serve(session: Session, frame: DataFrame): void {
    const { clock, lease } = this.#modules;
    const disk = this.disks.get(frame.disk as DiskId);
    if (disk === undefined) {
      session.refuse(frame, STATUS.unknownDisk, 0);
      return;
    }
    if (!lease.isHeld(clock.now())) {
      session.refuse(frame, STATUS.noLease, 0);
      return;
    }
    if (disk.store.failure !== null) {
      session.refuse(frame, STATUS.diskFailed, 0);
      return;
    }
    if (disk.isInDoubt) {
      session.refuse(frame, STATUS.memoryLost, 0);
      return;
    }
    switch (frame.op) {
      case OP.open:
        this.#open(session, frame, disk);
        return;
      case OP.flush:
        if (isOfThisMemory(frame, disk)) this.#blocks.flush(session, frame, disk);
        else session.refuse(frame, STATUS.memoryLost, 0);
        return;
      case OP.clean:
        takeClean(session, frame, disk, this.#modules.map);
        return;
      default:
        this.#servePg(session, frame, disk);
        return;
    }
  }

  #open(session: Session, frame: DataFrame, disk: ReplicaDisk): void {
    const reply = replyTo(frame, STATUS.ok);
    const inMap = this.#modules.map.volumes.get(frame.volume as VolumeId)?.generation ?? 0;
    const accepted = Math.max(disk.store.generationOf(frame.volume), inMap);
    if (frame.generation < accepted) {
      session.refuse(frame, STATUS.fenced, accepted);
      return;
    }
    const isNew = frame.generation > disk.store.generationOf(frame.volume);
    disk.store.adoptGeneration(frame.volume, frame.generation, (status) => {
      reply.status = status;
      // A still higher one may have come in while this one was on its way to the disk.
      const now = disk.store.generationOf(reply.volume);
      if (status === STATUS.ok && reply.generation < now) {
        reply.status = STATUS.fenced;
        reply.aux = now;
      }
      session.answer(reply);
    });
    // From this call on the store knows the new generation, so the former gateway is refused.
    if (isNew) for (const join of disk.joins.values()) join.reopen(reply.volume);
  }

  #servePg(session: Session, frame: DataFrame, disk: ReplicaDisk): void {
    const verdict = checkMembership(frame, disk, this.#modules.map);
    switch (verdict.kind) {
      case 'refuse':
        session.refuse(frame, verdict.status, verdict.aux);
        return;
      case 'adopt': {
        const kept = keep(frame);
        disk.adopt(kept.pg, kept.epoch, (status) => {
          if (status !== STATUS.ok) session.refuse(kept, status, 0);
          else this.#serve(session, kept);
        });
        return;
      }
      case 'serve':
        this.#perform(session, frame, disk, verdict.role);
        return;
    }
  }

  #perform(session: Session, frame: DataFrame, disk: ReplicaDisk, role: Role): void {
    const { op } = frame;
    if (op === OP.list || op === OP.meta || op === OP.pull) {
      if (role !== 'in-sync') {
        session.refuse(frame, STATUS.notMember, frame.epoch);
        return;
      }
      if (op === OP.list) {
        answerList(session, frame, disk);
        return;
      }
      if (op === OP.meta) {
        answerMeta(session, frame, disk);
        return;
      }
      const { pg } = frame;
      answerPull(session, frame, disk, (place) => this.onBad(disk.id, pg, place));
      return;
    }
    this.foregroundCount += 1;
    const refusal = checkGeneration(frame, disk, this.#modules.map);
    if (refusal !== null) {
      session.refuse(frame, refusal.status, refusal.aux);
      return;
    }
    if (frame.count === 0) {
      session.refuse(frame, STATUS.badRequest, 0);
      return;
    }
    if (op === OP.write || op === OP.zero) {
      let isIncomplete = false;
      if (role === 'joining') {
        const { volume, layer, extent, block, count } = frame;
        const join = disk.joins.get(frame.pg);
        // Resync learns of a new map before this server does: without a join there is nothing to serve.
        if (join === undefined) {
          session.refuse(frame, STATUS.notMember, frame.epoch);
          return;
        }
        join.mark(volume, layer, extent, block, count);
        isIncomplete = join.startsIncomplete(volume, layer, extent);
      }
      if (op === OP.write) {
        this.#blocks.write(session, frame, disk, isIncomplete);
        return;
      }
      this.#blocks.zero(session, frame, disk, isIncomplete);
      return;
    }
    if (role !== 'in-sync') {
      session.refuse(frame, STATUS.incomplete, 0);
      return;
    }
    if (op === OP.read) {
      this.#blocks.read(session, frame, disk);
      return;
    }
    if (op === OP.presence) {
      this.#blocks.presence(session, frame, disk);
      return;
    }
    session.refuse(frame, STATUS.badRequest, 0);
  }
}

/** A copy that outlives the handler. */
function keep(frame: DataFrame): DataFrame {
  const kept = Object.assign(new DataFrame(), frame);
  kept.takeBody();
  return kept;
}

/**
 * The data protocol between gateways and replicas, and between replicas (proto/data-protocol.md
 * gives it byte by byte). A frame is a 64-byte header and a body. This file is the vocabulary and the
 * frame as an object; `data-codec.ts` turns it into bytes and back.
 *
 * Only whole blocks travel: the gateway merges partial blocks. Where blocks travel, one CRC32C per
 * block, computed once at the gateway, travels with them and is stored with them.
 */

export const DATA_MAGIC = 0x31534943; // "CIS1", little endian
export const DATA_VERSION = 1;
export const DATA_HEADER_BYTES = 64;
/** A whole extent with its checksums (4 MiB + 4 KiB), and nothing larger. */
export const DATA_BODY_BYTES_MAX = 4 * 1024 * 1024 + 4096;

export const OP = {
  /** First frame in both directions. Body: JSON `HelloBody`. Everything else before it is refused. */
  hello: 1,
  /** Durably adopts `generation` for `volume` on `disk`: lower ones are refused from then on. */
  open: 2,
  /** Body: checksums, then blocks. */
  write: 3,
  /** Reply body: checksums, then blocks; `FLAG.zeros` and no body when no block is present. */
  read: 4,
  /** `FLAG.unmap`: the blocks become absent; without it they become zero and stay allocated. */
  zero: 5,
  /** Makes everything acked on `disk` before it durable. */
  flush: 6,
  /** Reply body: two bits per block of the range, little endian (see PRESENCE). */
  presence: 7,
  /** Body: u32 volume, layer, extent triples: all replicas have every write of these (DESIGN 4.5). */
  clean: 8,
  /** Resync: extents of `pg` on `disk` after the cursor. Bodies: see proto/data-protocol.md. */
  list: 9,
  /** Resync: stamp, presence and checksums of one extent. */
  meta: 10,
  /** Resync: as `read`, without generation; absent and zero blocks are as `meta` said. */
  pull: 11,
  /** Answered at once by every server: tells a silent peer from a dead one. */
  ping: 12,
} as const;
export type Op = (typeof OP)[keyof typeof OP];

export const FLAG = {
  reply: 1,
  unmap: 2,
  zeros: 4,
  /** `flush` must follow before the ack (FUA). */
  durable: 8,
} as const;

export const STATUS = {
  ok: 0,
  /** The replica has seen a newer epoch of this PG: `aux` is it. */
  staleEpoch: 1,
  /** The replica has accepted a higher generation of this volume: `aux` is it. */
  fenced: 2,
  /** The replica's node holds no lease: ask again, it may come back. */
  noLease: 3,
  /** The disk is no member of this PG in the epoch that was asked for. */
  notMember: 4,
  /** The stored block fails its checksum (read elsewhere), or the received one does (send again). */
  checksum: 5,
  noSpace: 6,
  diskFailed: 7,
  badRequest: 8,
  /** A joining replica does not have these blocks yet. */
  incomplete: 9,
  unknownVolume: 10,
  /** No such disk is served here (yet). */
  unknownDisk: 11,
  /** The asker has a newer epoch than this server's map: sent again when the map has arrived. */
  epochAhead: 12,
  /**
   * The store lost its memory with the power of its machine, and what that means for the PG (or for what
   * the asker takes for granted) is not settled: ask again under the next map.
   */
  memoryLost: 13,
} as const;
export type Status = (typeof STATUS)[keyof typeof STATUS];

/** Two bits per block. */
export const PRESENCE = { absent: 0, data: 1, zero: 2 } as const;

/** JSON body of `hello`. */
export interface HelloBody {
  readonly clusterId: string;
  /** 0 for a client that is no node. */
  readonly node: number;
  readonly protocol: number;
}

/**
 * One frame. Mutable and reusable: the hot path keeps its frames. `checksums` and `data` are null
 * when absent; ops with another body put it in `data` alone.
 */
export class DataFrame {
  op = 0;
  flags = 0;
  requestId = 0;
  status = 0;
  pg = 0;
  epoch = 0;
  disk = 0;
  volume = 0;
  generation = 0;
  layer = 0;
  extent = 0;
  /** First block inside the extent, 0 to 1023. */
  block = 0;
  /** Number of blocks, 0 to 1024. */
  count = 0;
  aux = 0;
  /** 4 × count bytes, little endian CRC32C per block. */
  checksums: Uint8Array | null = null;
  data: Uint8Array | null = null;
  /**
   * Inside one process only: where the blocks of a `read` may be put (4096 × count bytes), instead of
   * into memory of their own. Lent until the reply; never sent.
   */
  target: Uint8Array | null = null;
  /**
   * True when the body lies in memory that is used again after the handler returned. Set by the
   * receiving side; `takeBody` copies then and only then.
   */
  isBodyTransient = false;

  /** The body in memory that stays: the same views when they are the frame's own, else copies. */
  takeBody(): void {
    if (!this.isBodyTransient) return;
    if (this.checksums !== null) this.checksums = Uint8Array.from(this.checksums);
    if (this.data !== null) {
      const copy = Buffer.allocUnsafeSlow(this.data.length);
      copy.set(this.data);
      this.data = copy;
    }
    this.isBodyTransient = false;
  }
}

/** A reply with the address fields of its request, ready for `status`, `aux` and a body. */
export function replyTo(request: DataFrame, status: Status): DataFrame {
  const reply = new DataFrame();
  reply.op = request.op;
  reply.flags = FLAG.reply;
  reply.requestId = request.requestId;
  reply.status = status;
  reply.pg = request.pg;
  reply.epoch = request.epoch;
  reply.disk = request.disk;
  reply.volume = request.volume;
  reply.generation = request.generation;
  reply.layer = request.layer;
  reply.extent = request.extent;
  reply.block = request.block;
  reply.count = request.count;
  return reply;
}

/** `read`, `staleEpoch`, … for log lines and error texts; unknown numbers as themselves. */
export function nameOf(table: Readonly<Record<string, number>>, value: number): string {
  for (const [name, number] of Object.entries(table)) if (number === value) return name;
  return String(value);
}

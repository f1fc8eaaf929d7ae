/**
 * The clients of one volume: seeded requests at whatever gateways serve it, several in flight, checked
 * against the block history. A request whose process died has no answer; all others must get one.
 */
import type { BlockOp, BlockRequest } from '../../../executor/gateway/block-device.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import { BLOCK_BYTES } from '../../../shared/base/units.ts';
import { BlockHistory, type HistoryEntry } from '../checkers/block-history.ts';
import { readPattern, writePattern } from '../checkers/cell-pattern.ts';
import type { FlushMark } from '../checkers/replica-watch.ts';
import type { Cluster } from '../cluster.ts';
import type { SimulatedDataProcess } from '../simulated-data-process.ts';
import type { SimulatedNode } from '../simulated-node.ts';

export interface VolumeClientOptions {
  readonly volume: number;
  readonly sizeBytes: number;
  /** Unit of requests and of judgement: 64 to 4096 bytes, a power of two. */
  readonly cellBytes: number;
  readonly depth: number;
  /** Mean time between the end of a request and the next one. */
  readonly thinkMs: number;
}

interface Flight {
  readonly op: BlockOp;
  readonly offset: number;
  readonly length: number;
  readonly startedMs: number;
  readonly entry: HistoryEntry;
  readonly process: SimulatedDataProcess;
  readonly incarnation: number;
  /** Of a flush: what had been acked when it began. */
  readonly mark: FlushMark | null;
}

/**
 * 35 s is the gateway's own deadline, on its own clock, which may run fast by 2 %: before, a failure costs
 * a pause, never an error.
 */
const PATIENCE_MS = 34_300;
/** It looks now and then. */
const ANSWER_MS_MAX = 37_000;
const SPOTS = 6;
const HEALING_SLOWNESS = 16;
/** Whoever makes a request in a second or less often stays as he is: progress is asked of him, too. */
const HEALING_THINK_MS_MAX = 800;
/** Of one request: judging more of the smallest cells would take half of a run's time. */
const CELLS_MAX = 512;
/** Most requests are small; the largest one crosses an extent. */
const LENGTHS = [512, 4096, 4096, 8192, 16_384, 65_536, 200_000];

export class VolumeClient {
  readonly options: VolumeClientOptions;
  readonly #cluster: Cluster;
  readonly #random: Prng;
  readonly #history: BlockHistory;
  readonly #flights = new Set<Flight>();
  readonly #spots: number[] = [];
  readonly #onViolation: (what: string) => void;
  #nextWrite = 1;
  #isStopped = false;
  #slowness = 1;
  doneCount = 0;
  failedCount = 0;
  lostCount = 0;

  constructor(cluster: Cluster, options: VolumeClientOptions, onViolation: (what: string) => void) {
    this.#cluster = cluster;
    this.options = options;
    this.#random = cluster.random.fork(`client ${options.volume}`);
    this.#onViolation = (what) => onViolation(`v${options.volume}: ${what}`);
    this.#history = new BlockHistory(this.#onViolation);
    for (let index = 0; index < SPOTS; index += 1) {
      this.#spots.push(this.#random.below(options.sizeBytes / options.cellBytes));
    }
  }

  get inFlight(): number {
    return this.#flights.size;
  }

  get isIdle(): boolean {
    return this.#flights.size === 0;
  }

  start(): void {
    this.#isStopped = false;
    for (let lane = 0; lane < this.options.depth; lane += 1) this.#goOn();
  }

  /** From now on there are fewer requests: healing takes minutes, and has to be judged too. */
  slowDown(): void {
    const room = HEALING_THINK_MS_MAX / Math.max(1, this.options.thinkMs);
    this.#slowness = Math.max(1, Math.min(HEALING_SLOWNESS, room));
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Every machine of the cluster loses its power at this moment. */
  onBlackout(): void {
    this.#history.blackout();
  }

  /** Requests of dead processes have no answer; those of living ones must have had one by now. */
  sweep(): void {
    const nowMs = this.#cluster.clock.now();
    for (const flight of [...this.#flights]) {
      if (flight.incarnation !== flight.process.incarnation) {
        this.#flights.delete(flight);
        this.#history.dropRead(flight.entry);
        this.lostCount += 1;
        if (!this.#isStopped) this.#goOn();
      } else if (!flight.process.isStopped && nowMs - sinceOf(flight) > ANSWER_MS_MAX) {
        this.#flights.delete(flight);
        this.#onViolation(`${describe(flight)} has no answer after ${nowMs - flight.startedMs} ms`);
      }
    }
  }

  /** Reads every cell that was ever touched; resolves with the number of failed reads. */
  async readBack(): Promise<number> {
    const { cellBytes } = this.options;
    const blocks = new Set<number>();
    for (const cell of this.#history.cells) {
      blocks.add(Math.floor((cell * cellBytes) / BLOCK_BYTES) * BLOCK_BYTES);
    }
    let failed = 0;
    for (const offset of blocks) {
      const node = this.#pickNode();
      if (node === null) return blocks.size;
      const isDone = await new Promise<boolean>((resolve) => {
        this.#submit(node, 'read', offset, BLOCK_BYTES, (error) => resolve(error === null));
      });
      if (!isDone) failed += 1;
    }
    return failed;
  }

  #goOn(): void {
    const waitMs = this.options.thinkMs * this.#slowness * 2 * this.#random.fraction();
    this.#cluster.clock.after(waitMs, () => {
      if (this.#isStopped) return;
      const node = this.#pickNode();
      if (node === null) this.#goOn();
      else this.#request(node);
    });
  }

  /** Mostly the newest gateway; now and then whoever still serves. */
  #pickNode(): SimulatedNode | null {
    const { volume } = this.options;
    const nodes = this.#cluster.nodes.filter((node) => node.findServed(volume) !== null);
    if (nodes.length === 0) return null;
    if (nodes.length > 1 && this.#random.chance(0.3)) return this.#random.pick(nodes);
    const generation = (node: SimulatedNode): number => node.findServed(volume)?.generation ?? 0;
    return nodes.reduce((best, node) => (generation(node) > generation(best) ? node : best));
  }

  #request(node: SimulatedNode): void {
    const op = this.#pickOp();
    const { offset, length } = this.#pickRange();
    this.#submit(node, op, offset, op === 'flush' ? 0 : length, () => {
      if (!this.#isStopped) this.#goOn();
    });
  }

  #pickOp(): BlockOp {
    const dice = this.#random.below(100);
    if (dice < 45) return 'write';
    if (dice < 85) return 'read';
    if (dice < 92) return 'flush';
    return dice < 96 ? 'zero' : 'trim';
  }

  #pickRange(): { readonly offset: number; readonly length: number } {
    const { cellBytes, sizeBytes } = this.options;
    const wanted = this.#random.pick(LENGTHS);
    const cells = 1 + this.#random.below(Math.min(CELLS_MAX, Math.ceil(wanted / cellBytes)));
    const spread = this.#random.below(64);
    const cell = this.#random.pick(this.#spots) + spread;
    const last = sizeBytes / cellBytes - cells;
    return { offset: Math.min(cell, last) * cellBytes, length: cells * cellBytes };
  }

  #submit(
    node: SimulatedNode,
    op: BlockOp,
    offset: number,
    length: number,
    done: (error: string | null) => void,
  ): void {
    const { volume, cellBytes } = this.options;
    const served = node.findServed(volume);
    const process = node.dataProcess;
    if (served === null || process === null) {
      done('gone');
      return;
    }
    const write = this.#nextWrite;
    const isData = op === 'write';
    const isDurable = (isData || op === 'zero') && this.#random.chance(0.1);
    if (isData) this.#nextWrite += 1;
    const entry =
      op === 'read' || op === 'flush'
        ? this.#history.beginRead(served.generation)
        : this.#history.beginWrite(
            served.generation,
            touchedCells(op, offset, length, cellBytes),
            isData ? write : 0,
            isDurable,
          );
    const { incarnation } = process;
    const startedMs = this.#cluster.clock.now();
    const mark = op === 'flush' ? this.#cluster.watch.replicas.beginFlush(volume) : null;
    const flight: Flight = { op, offset, length, startedMs, entry, process, incarnation, mark };
    this.#flights.add(flight);
    const name = `${isData ? ` w${write}` : ''}${isDurable ? ' fua' : ''}`;
    this.#cluster.trace.add(node.host, `> ${describe(flight)}${name}`);
    const request: BlockRequest = {
      op,
      offset,
      length,
      isDurable,
      mayUnmap: op === 'zero' && this.#random.chance(0.5),
      data: isData ? writePattern({ volume, cellBytes }, offset, length, write) : null,
      statuses: null,
      error: null,
      onDone: () => {
        // Its process is dead, or it was given up on: nobody hears this answer.
        if (process.incarnation !== incarnation || !this.#flights.delete(flight)) return;
        this.#onAnswer(node, flight, request);
        done(request.error);
      },
    };
    process.whenRunning(() => served.device.submit(request));
  }

  #onAnswer(node: SimulatedNode, flight: Flight, request: BlockRequest): void {
    const { op, entry } = flight;
    const { error } = request;
    this.#cluster.trace.add(node.host, `< ${describe(flight)} ${error ?? 'ok'}`);
    if (error !== null) {
      this.failedCount += 1;
      this.#history.dropRead(entry);
      // A gateway that is being closed may refuse; nobody else may, before the client's patience is over.
      const waitedMs = this.#cluster.clock.now() - flight.startedMs;
      if (error !== 'shutdown' && (error !== 'io' || waitedMs < PATIENCE_MS)) {
        this.#onViolation(`${describe(flight)} ended in ${error} after ${Math.round(waitedMs)} ms`);
      }
      return;
    }
    this.doneCount += 1;
    if (op === 'read') this.#onData(flight, request.data);
    else if (op === 'flush') {
      this.#history.endFlush(entry);
      if (flight.mark !== null) this.#cluster.watch.replicas.endFlush(flight.mark);
    } else {
      this.#history.endWrite(entry);
      for (const [first, end] of this.#settledBlocks(flight)) {
        this.#cluster.watch.replicas.onWriteAcked(this.options.volume, first, end);
      }
    }
  }

  /**
   * What an acked request changed, without blocks that a later one under way may have changed already:
   * parts of a request end one by one, and the next one goes on there.
   */
  #settledBlocks(flight: Flight): readonly BlockRange[] {
    let settled: readonly BlockRange[] = [touchedBlocks(flight)];
    for (const other of this.#flights) {
      if (other.op === 'read' || other.op === 'flush') continue;
      const [first, end] = touchedBlocks(other);
      settled = settled
        .flatMap(([from, to]): BlockRange[] => [
          [from, Math.min(to, first)],
          [Math.max(from, end), to],
        ])
        .filter(([from, to]) => from < to);
    }
    return settled;
  }

  #onData(flight: Flight, data: Buffer | null): void {
    const { volume, cellBytes } = this.options;
    const { entry, offset, length } = flight;
    if (data === null || data.length !== length) {
      this.#onViolation(`${describe(flight)} returned ${data?.length ?? 'no'} bytes`);
      return;
    }
    this.#history.endRead(entry, readPattern({ volume, cellBytes }, offset, data));
  }
}

/** A process that was stopped meanwhile has its time from then on. */
function sinceOf({ startedMs, process }: Flight): number {
  return Math.max(startedMs, process.lastStopMs);
}

/** First block and the end. */
type BlockRange = readonly [number, number];

/** A trim leaves blocks alone that it only touches. */
function touchedBlocks({ op, offset, length }: Flight): BlockRange {
  const first = offset / BLOCK_BYTES;
  const end = (offset + length) / BLOCK_BYTES;
  return op === 'trim' ? [Math.ceil(first), Math.floor(end)] : [Math.floor(first), Math.ceil(end)];
}

/** A trim leaves blocks alone that it only touches. */
function touchedCells(op: BlockOp, offset: number, length: number, cellBytes: number): number[] {
  const unit = op === 'trim' ? BLOCK_BYTES : cellBytes;
  const start = Math.ceil(offset / unit) * unit;
  const end = Math.floor((offset + length) / unit) * unit;
  const cells: number[] = [];
  for (let at = start; at < end; at += cellBytes) cells.push(at / cellBytes);
  return cells;
}

function describe({ op, offset, length }: Pick<Flight, 'op' | 'offset' | 'length'>): string {
  return `${op} ${offset}+${length}`;
}

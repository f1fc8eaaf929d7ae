/**
 * One run: several lives of a store on real files. In each life it is opened (which recovers it, but for the
 * first), works, and leaves a record. The record is cut before every event (or a sample of them);
 * what a crash at that point may leave goes into a fresh directory, where a store is opened and judged. The
 * last cut of a life is where the next one begins: so recovery is cut as well.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { ExtentStore } from '../../../executor/disk/extent-store.ts';
import { openExtentStore } from '../../../executor/disk/extent-store-open.ts';
import type { StoreOptions } from '../../../executor/disk/store-types.ts';
import { present } from '../../../shared/base/assert.ts';
import { Prng } from '../../../shared/base/prng.ts';
import {
  BLOCK_BYTES,
  BLOCKS_PER_EXTENT,
  EXTENT_BYTES,
  KiB,
  MiB,
} from '../../../shared/base/units.ts';
import { systemClock } from '../../../shared/node/clock.ts';
import { LinuxDisk } from '../../../shared/node/linux-disk.ts';
import type { Clock, Disk } from '../../../shared/ports.ts';
import type { Status } from '../../../shared/wire/data-protocol.ts';
import { STATUS } from '../../../shared/wire/data-protocol.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';
import type { BlockValue } from '../../unit/disk/block-model.ts';
import { stamped } from '../../unit/disk/block-model.ts';
import { OK, readFrom, writeOf } from '../../unit/disk/store-fixture.ts';
import type { CrashKind, DiskEvent, Mark } from './disk-events.ts';
import { DiskImage } from './disk-image.ts';
import { allAddresses, Judge } from './judge.ts';
import { RecordedDisk } from './recorded-disk.ts';
import { Workload } from './workload.ts';

export interface CrashRunOptions {
  readonly seed: number;
  readonly lives: number;
  /** Requests per life. */
  readonly steps: number;
  /** Chance of each event to be a cut; 1: every prefix. */
  readonly cutChance: number;
  /** Crashes per cut, beside that of the process alone. */
  readonly powerLosses: number;
}

export interface CrashRunResult {
  readonly events: number;
  /** Directories that were opened and judged. */
  readonly crashes: number;
}

/** Fewer than extents: slots change owners all the time. */
const SLOTS = 5;
const MEMORY = '/dev/shm';
/** Of no workload: what is written to see that a recovered store works on. */
const PROBE_VOLUME = 9;

export class CrashRun {
  readonly #options: CrashRunOptions;
  readonly #prng: Prng;
  /** On a real disk. */
  readonly #root: string;
  /** In memory where that is possible: opened once and thrown away, hundreds of them. */
  readonly #crashRoot: string;
  readonly #writeEpochs = new Map<number, number>();
  readonly #judge = new Judge(this.#writeEpochs);
  /** Of the machine: power loss begins another one. */
  #boot = 0;
  #events = 0;
  #crashes = 0;
  #where = '';

  constructor(options: CrashRunOptions) {
    this.#options = options;
    this.#prng = new Prng(`crash-prefix ${options.seed}`);
    this.#root = mkdtempSync(join(tmpdir(), 'cistern-crash-'));
    this.#crashRoot = existsSync(MEMORY) ? mkdtempSync(join(MEMORY, 'cistern-crash-')) : this.#root;
  }

  /** Throws with the place of the crash when a store breaks a promise. */
  async run(): Promise<CrashRunResult> {
    try {
      let image = new DiskImage();
      let kind: CrashKind = 'process';
      for (let life = 0; life < this.#options.lives; life += 1) {
        this.#where = `life ${life}, working`;
        const path = this.#directory(this.#root, 'life');
        image.writeOut(path);
        const events = await this.#live(path, life, kind);
        this.#remove(path);
        const next = await this.#cut({ life, image, events, kind });
        image = next.image;
        kind = next.kind;
      }
      return { events: this.#events, crashes: this.#crashes };
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      throw new Error(`Seed ${this.#options.seed}, ${this.#where}: ${text}`);
    } finally {
      this.#remove(this.#root);
      this.#remove(this.#crashRoot);
    }
  }

  // ── A life ───────────────────────────────────────────────────────────────────────────────────

  /** Works until it is left alone; the record of everything that happened. */
  async #live(path: string, life: number, kind: CrashKind): Promise<readonly DiskEvent[]> {
    const prng = this.#prng.fork(`life ${life}`);
    let store: ExtentStore | null = null;
    const mark = (entry: Mark): void => {
      disk.events.push({ kind: 'mark', mark: entry });
    };
    const writeEpochs = this.#writeEpochs;
    const workload = new Workload({ prng: prng.fork('work'), mark, writeEpochs });
    const disk = new RecordedDisk(new LinuxDisk(path), prng.fork('disk'), {
      beforeEvent: () => {
        if (store !== null) workload.noteClean(store);
      },
    });
    const clock = new VirtualClock();
    const tuning = prng.pick(TUNINGS);
    if (kind === 'power') this.#boot += 1;
    const bootId = `boot ${this.#boot}`;
    store = await disk.wait(open({ disk, clock, tuning, bootId }));
    if (life > 0) mark({ kind: 'settled', found: await disk.wait(this.#judge.check(store, kind)) });
    mark({ kind: 'open', incarnation: store.incarnation });
    for (let step = 0; step < this.#options.steps; step += 1) {
      workload.step(store);
      for (let turns = prng.pick([0, 0, 1, 2, 5]); turns > 0; turns -= 1) await disk.pump();
      if (prng.chance(0.02)) await disk.drain();
      if (!prng.chance(0.02)) continue;
      await workload.close(store, (promise) => disk.wait(promise));
      store = null;
      store = await disk.wait(open({ disk, clock, tuning, bootId }));
      mark({ kind: 'open', incarnation: store.incarnation });
    }
    const last: ExtentStore = store;
    workload.flush(last);
    await disk.drain();
    expect(last.failure).to.equal(null);
    const { events } = disk;
    store = null;
    this.#events += events.length;
    const record = events.slice();
    await disk.wait(last.close());
    return record;
  }

  // ── Its ends ─────────────────────────────────────────────────────────────────────────────────

  async #cut(past: {
    readonly life: number;
    readonly image: DiskImage;
    readonly events: readonly DiskEvent[];
    readonly kind: CrashKind;
  }): Promise<{ readonly image: DiskImage; readonly kind: CrashKind }> {
    const { life, image, events } = past;
    const prng = this.#prng.fork(`cuts ${life}`);
    const isLast = life === this.#options.lives - 1;
    const stop = isLast ? events.length : Math.ceil(events.length * (0.3 + 0.7 * prng.fraction()));
    // Until the store had settled after the crash before, that one's rules hold.
    const settledAt = events.findIndex((event) => isSettled(event));
    for (let at = 0; at < stop; at += 1) {
      const event = present(events[at], 'an event below the end');
      if (event.kind === 'mark') {
        this.#judge.apply(event.mark);
        continue;
      }
      if (prng.chance(this.#options.cutChance)) {
        const mustBePower = past.kind === 'power' && at < settledAt;
        await this.#crashAll({ life, at, image, next: event, mustBePower });
      }
      image.apply(event);
    }
    const kind: CrashKind =
      (past.kind === 'power' && stop <= settledAt) || prng.chance(0.6) ? 'power' : 'process';
    image.crash(kind, events[stop], prng);
    return { image, kind };
  }

  async #crashAll(cut: {
    readonly life: number;
    readonly at: number;
    readonly image: DiskImage;
    readonly next: DiskEvent;
    readonly mustBePower: boolean;
  }): Promise<void> {
    for (let turn = 0; turn <= this.#options.powerLosses; turn += 1) {
      const prng = this.#prng.fork(`crash ${cut.life} ${cut.at} ${turn}`);
      const kind = turn === 0 ? 'process' : 'power';
      this.#where = `life ${cut.life}, ${kind} lost before event ${cut.at} (turn ${turn})`;
      const image = cut.image.copy();
      image.crash(kind, cut.next, prng);
      const path = this.#directory(this.#crashRoot, 'crash');
      image.writeOut(path);
      const bootId = kind === 'power' ? 'another boot' : `boot ${this.#boot}`;
      await this.#judgeAt(path, { kind: cut.mustBePower ? 'power' : kind, bootId, prng });
      this.#remove(path);
      this.#crashes += 1;
    }
  }

  async #judgeAt(
    path: string,
    end: { readonly kind: CrashKind; readonly bootId: string; readonly prng: Prng },
  ): Promise<void> {
    const { kind, bootId, prng } = end;
    const disk = new LinuxDisk(path);
    const store = await open({ disk, clock: systemClock, tuning: prng.pick(TUNINGS), bootId });
    const found = await this.#judge.check(store, kind);
    if (prng.chance(0.3)) await workOn(store);
    expect(store.failure).to.equal(null);
    await store.close();
    if (!prng.chance(0.2)) return;
    const again = await open({ disk, clock: systemClock, tuning: {}, bootId: 'yet another' });
    expect(again.incarnation, 'a clean end keeps the memory').to.equal(store.incarnation);
    await expectSame(again, found);
    await again.close();
  }

  #directory(root: string, what: string): string {
    const path = join(root, what);
    mkdirSync(path);
    return path;
  }

  #remove(path: string): void {
    rmSync(path, { recursive: true, force: true });
  }
}

/** Small, so that checkpoints and rotations happen within a few requests. */
const TUNINGS: readonly NonNullable<StoreOptions['tuning']>[] = [
  {
    journalCheckpointBytes: 2 * KiB,
    journalBytesMax: 4 * MiB,
    syncWriteBytesMax: 16 * KiB,
    pinnedTablesMax: 6,
    tableCacheCount: 64,
    backgroundSyncBytes: 256 * KiB,
  },
  { journalCheckpointBytes: 8 * KiB, syncWriteBytesMax: 8 * KiB, backgroundSyncBytes: 16 * KiB },
];

function open(options: {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly tuning: NonNullable<StoreOptions['tuning']>;
  readonly bootId: string;
}): Promise<ExtentStore> {
  const { disk, clock, tuning, bootId } = options;
  return openExtentStore(
    {
      clusterId: 'cluster-a',
      diskId: 7,
      uuid: '8c2c7a0e-53a3-4a5f-9be1-000000000007',
      capacityBytes: SLOTS * EXTENT_BYTES,
      create: true,
      tuning,
      bootId,
    },
    { disk, clock, log: () => undefined },
  );
}

/** New data, in a slot that may have had another owner: nothing of that one is left. */
async function workOn(store: ExtentStore): Promise<void> {
  const address = { volume: PROBE_VOLUME, layer: 0, extent: 0 };
  const data = stamped(0xabcd_ef01);
  const status = await ask((done) =>
    store.write(writeOf(address, 7, data, { durable: true, epoch: 9 }), done),
  );
  if (status === STATUS.noSpace) {
    expect(store.usage().usedSlots, 'refused only when full').to.equal(SLOTS);
    return;
  }
  expect(status, 'a write after recovery').to.equal(OK);
  const raw = new Uint8Array(BLOCKS_PER_EXTENT * BLOCK_BYTES);
  expect(await ask((done) => store.readRaw(address, 0, BLOCKS_PER_EXTENT, raw, done))).to.equal(OK);
  const bytes = Buffer.from(raw.buffer);
  const at = 7 * BLOCK_BYTES;
  expect(bytes.subarray(at, at + BLOCK_BYTES).equals(data), 'the new block').to.equal(true);
  bytes.fill(0, at, at + BLOCK_BYTES);
  expect(bytes.equals(Buffer.alloc(bytes.length)), 'a new slot holds nothing else').to.equal(true);
  expect(await ask((done) => store.flush(done))).to.equal(OK);
}

/** After a clean end: exactly what was there before. */
async function expectSame(
  store: ExtentStore,
  found: ReadonlyMap<string, BlockValue>,
): Promise<void> {
  for (const address of allAddresses()) {
    for (const [key, value] of found) {
      const prefix = `${address.volume}/${address.layer}/${address.extent}:`;
      if (!key.startsWith(prefix)) continue;
      const result = await readFrom(store, address, Number(key.slice(prefix.length)), 1);
      expect(result.status, `${key} after a clean end`).to.equal(OK);
      const expected = value.bytes ?? Buffer.alloc(BLOCK_BYTES);
      expect(result.data.equals(expected), `${key} after a clean end`).to.equal(true);
    }
  }
}

function isSettled(event: DiskEvent): boolean {
  return event.kind === 'mark' && event.mark.kind === 'settled';
}

function ask(start: (done: (status: Status) => void) => void): Promise<Status> {
  return new Promise(start);
}

/** Deleting extents: one, those of a volume, those of a PG; the many in slices, so that others get on. */
import { BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import type { Status } from '../../shared/wire/data-protocol.ts';
import { STATUS } from '../../shared/wire/data-protocol.ts';
import { ROW } from './extent-catalog.ts';
import type { StoreCore } from './store-core.ts';
import type { Done, ExtentAddress } from './store-types.ts';

/** Extents deleted per slice: 2 microseconds each. */
const SLICE_EXTENTS = 256;
/** Rows looked at per slice: well below a millisecond. */
const SLICE_ROWS = 64 * 1024;
/** Between slices: whatever else is waiting gets its turn. */
const PAUSE_MS = 1;

export class ExtentRemover {
  readonly #core: StoreCore;

  constructor(core: StoreCore) {
    this.#core = core;
  }

  deleteExtent(address: ExtentAddress, done: Done): void {
    if (this.#core.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    const { catalog, holds, journal } = this.#core;
    const row = catalog.find(address.volume, address.layer, address.extent);
    if (row < 0) {
      // Perhaps deleted a moment ago, and not yet written.
      this.#core.afterWritten(done);
      return;
    }
    const whole = { block: 0, count: BLOCKS_PER_EXTENT, mode: 'write' } as const;
    if (holds.mustWait(row, whole, () => this.deleteExtent(address, done))) return;
    if (!journal.hasRoom(1)) {
      done(STATUS.noSpace);
      return;
    }
    this.#core.removeExtent(row);
    this.#core.afterWritten(done);
  }

  deleteVolume(volume: number, done: Done): void {
    this.#scan(volume, 0, (status) => {
      if (status !== STATUS.ok) {
        done(status);
        return;
      }
      const { parts, journal, changedGenerations } = this.#core;
      if (parts.generations.delete(volume) && journal.hasRoom(1)) {
        changedGenerations.add(volume);
        journal.append({ type: 'generation', volume, generation: 0 });
      }
      this.#core.afterWritten(done);
    });
  }

  forgetPg(pg: number, done: Done): void {
    const addresses = this.#core.catalog
      .rowsOfPg(pg)
      .map((row) => this.#core.catalog.addressOf(row));
    this.#deleteSlices(addresses, 0, done);
  }

  #scan(volume: number, from: number, done: Done): void {
    const { catalog } = this.#core;
    const addresses: ExtentAddress[] = [];
    let row = from;
    const end = Math.min(catalog.rowEnd, from + SLICE_ROWS);
    for (; row < end && addresses.length < SLICE_EXTENTS; row += 1) {
      if (!catalog.hasFlag(row, ROW.used) || catalog.volume[row] !== volume) continue;
      addresses.push(catalog.addressOf(row));
    }
    this.#deleteAll(addresses, (status) => {
      if (status !== STATUS.ok || row >= catalog.rowEnd) done(status);
      else this.#core.parts.clock.after(PAUSE_MS, () => this.#scan(volume, row, done));
    });
  }

  #deleteSlices(addresses: readonly ExtentAddress[], from: number, done: Done): void {
    const slice = addresses.slice(from, from + SLICE_EXTENTS);
    this.#deleteAll(slice, (status) => {
      const next = from + SLICE_EXTENTS;
      if (status !== STATUS.ok || next >= addresses.length) done(status);
      else {
        this.#core.parts.clock.after(PAUSE_MS, () => this.#deleteSlices(addresses, next, done));
      }
    });
  }

  /** `done` gets the first status that is not ok. */
  #deleteAll(addresses: readonly ExtentAddress[], done: Done): void {
    let waiting = 1;
    let worst: Status = STATUS.ok;
    const finish: Done = (status) => {
      if (worst === STATUS.ok) worst = status;
      waiting -= 1;
      if (waiting === 0) done(worst);
    };
    for (const address of addresses) {
      waiting += 1;
      this.deleteExtent(address, finish);
    }
    finish(STATUS.ok);
  }
}

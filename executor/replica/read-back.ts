/**
 * Before a joining disk counts as a copy, some of what was put on it is read back from the device. A disk that
 * takes writes and cannot be read would otherwise become the home of data, and the good copy it replaces
 * would go. One block per extent of a few extents: it is the disk that is judged here, not its blocks, which
 * scrub and read-repair look after.
 */
import { StorageError } from '../../shared/base/errors.ts';
import type { ExtentAddress } from '../disk/store-types.ts';
import { checkBlock } from './block-check.ts';
import type { ReplicaDisk } from './replica-disk.ts';

/** A disk that cannot be read fails the first one; the others are for disks that fail in places. */
const SAMPLES_MAX = 8;

interface Sample {
  readonly address: ExtentAddress;
  readonly block: number;
}

export class ReadBack {
  readonly #samples: Sample[] = [];
  #noted = 0;

  /** A block with data was stored. Of each extent the first one counts, and of the extents the latest. */
  note({ volume, layer, extent }: ExtentAddress, block: number): void {
    const last = this.#samples[(this.#noted - 1) % SAMPLES_MAX]?.address;
    if (last?.volume === volume && last.layer === layer && last.extent === extent) return;
    this.#samples[this.#noted % SAMPLES_MAX] = { address: { volume, layer, extent }, block };
    this.#noted += 1;
  }

  /**
   * `copyAgain` stores a block anew, durably: a lone bad sector is cured by that. Rejects with `disk-failed`
   * when a block cannot be read back even then.
   */
  async check(
    disk: ReplicaDisk,
    copyAgain: (address: ExtentAddress, block: number) => Promise<'stored' | 'lost'>,
  ): Promise<void> {
    for (const { address, block } of this.#samples) {
      if ((await checkBlock(disk.store, address, block)) === 'good') continue;
      // Gone bad at its sources meanwhile: that is not this disk's fault.
      if ((await copyAgain(address, block)) === 'lost') continue;
      if ((await checkBlock(disk.store, address, block)) === 'good') continue;
      const { volume, extent } = address;
      throw new StorageError(
        'disk-failed',
        `Block ${block} of extent ${extent} of v${volume} was copied onto d${disk.id} and cannot be read back from there`,
      );
    }
    this.#samples.length = 0;
    this.#noted = 0;
  }
}

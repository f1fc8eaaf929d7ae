/**
 * What the volumes have stored here, for the report: all of it while they are few, else a part each time, in order
 * of volume numbers. Otherwise a report of a large cluster would be nothing else.
 */
import type { NodeReport, VolumeUsage } from '../../shared/model/node-report.ts';

/** Volumes in one report: with four disks some 10 KiB. Ten thousand volumes take forty seconds. */
const VOLUMES_MAX = 256;
/** Above every volume number: the turn's last part. */
const END = 0xffff_ffff;

export class UsageTurns {
  #from = 0;

  /** The next part. */
  take(
    all: readonly VolumeUsage[],
  ): Pick<NodeReport, 'volumeUsage' | 'volumeFrom' | 'volumeBelow'> {
    const numbers = [...new Set<number>(all.map(({ volume }) => volume))].sort((a, b) => a - b);
    if (numbers.length <= VOLUMES_MAX) {
      this.#from = 0;
      return { volumeUsage: all };
    }
    const first = numbers.findIndex((number) => number >= this.#from);
    // The volumes at the end are gone: from the start again.
    const volumeFrom = first === -1 ? 0 : this.#from;
    const volumeBelow = numbers[Math.max(0, first) + VOLUMES_MAX] ?? END;
    this.#from = volumeBelow === END ? 0 : volumeBelow;
    const volumeUsage = all.filter(({ volume }) => volume >= volumeFrom && volume < volumeBelow);
    return { volumeUsage, volumeFrom, volumeBelow };
  }
}

/**
 * Rot in the newest journal of a disk. It shows when the journal is read again, so the machine loses its power with
 * it. Only records that a later one calls power-safe are hit: others cannot be told from a torn end, and a store
 * that does without them is right.
 */
import { decodeRecord } from '../../../executor/disk/journal-records.ts';
import type { SimulatedDisk } from '../ports/simulated-disk.ts';
import { pickMortal } from './disk-faults.ts';
import { type Fault, takeAway } from './fault-site.ts';
import { drawLossMs } from './process-faults.ts';

export const rotJournal: Fault = (site) => {
  const { atlas, cluster, options, random } = site;
  let what = '';
  const disk = pickMortal(site, (one) => {
    const node = cluster.nodes.find(({ disks }) => disks.has(one.path));
    if (node === undefined || !node.isPowered || !atlas.mayLosePower(node)) return false;
    if (findSafeRecords(one).length === 0) return false;
    atlas.notePowerLoss(node);
    node.losePower();
    takeAway(site, [node], drawLossMs(random, options.quickLossRatio), () => node.restorePower());
    // What was written last may have gone with the power.
    const records = findSafeRecords(one);
    if (records.length === 0) return false;
    const { name, at, length } = random.pick(records);
    one.flipBit(name, at + random.below(length), random.below(8));
    what = `${one.path} ${name} at ${at}`;
    return true;
  });
  return disk === null ? null : what;
};

interface Place {
  readonly name: string;
  readonly at: number;
  readonly length: number;
}

/** Of the newest file, unless its end is another one's business already. */
function findSafeRecords(disk: SimulatedDisk): Place[] {
  const name = disk
    .list()
    .filter((file) => file.startsWith('journal/'))
    .sort()
    .at(-1);
  if (name === undefined) return [];
  const bytes = Buffer.from(disk.bytesOf(name));
  const found: (Place & { readonly sequence: number })[] = [];
  let through = 0;
  for (let at = 0; ; ) {
    const next = decodeRecord(bytes, at);
    if (next === null) break;
    const { record, sequence, length } = next;
    found.push({ name, at, length, sequence });
    if (record.type === 'synced') through = record.through;
    at += length;
  }
  return found.filter(({ sequence }) => sequence <= through);
}

/**
 * Opens the books of all disks of a quiet cluster and compares: replicas of a PG hold the same bytes,
 * nobody holds what he should not, and the figures that are reported add up.
 */
import type { ExtentStore } from '../../../executor/disk/extent-store.ts';
import type { ExtentAddress, ExtentEntry } from '../../../executor/disk/store-types.ts';
import type { State } from '../../../scheduler/core/state.ts';
import { crc32c } from '../../../shared/base/crc32c.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT, EXTENT_BYTES } from '../../../shared/base/units.ts';
import { STATUS } from '../../../shared/wire/data-protocol.ts';
import type { Cluster } from '../cluster.ts';

const PAGE = 1_000;

export function storesOf(cluster: Cluster): Map<number, ExtentStore> {
  const stores = new Map<number, ExtentStore>();
  for (const node of cluster.nodes) {
    for (const [disk, store] of node.dataProcess?.stores ?? []) stores.set(disk, store);
  }
  return stores;
}

/** Extents that a disk keeps of PGs that it is no member of, or of volumes that are deleted. */
export function findLeaks(cluster: Cluster, state: State): string {
  for (const [disk, store] of storesOf(cluster)) {
    const phase = state.facts.disks.find(disk as never)?.phase;
    if (phase !== 'serving') continue;
    for (const pg of state.facts.pgs.values()) {
      const isMember = [...pg.inSync, ...pg.joining].some((member) => member === disk);
      for (const entry of entriesOf(store, pg.id)) {
        if (!isMember) return `d${disk} holds an extent of pg${pg.id}, of which it is no member`;
        if (state.facts.volumes.find(entry.volume as never) === undefined) {
          return `d${disk} holds an extent of v${entry.volume}, which is deleted`;
        }
      }
    }
  }
  return '';
}

/** What is left out of a comparison: copies that faults have spoilt and nobody has met since. */
export interface KnownFlaws {
  isDead(disk: number): boolean;
  /** As `disk pg vVOLUME.LAYER/EXTENT`. */
  readonly damaged: ReadonlySet<string>;
}

/** One sentence for each difference; the cluster must be whole and no request under way. */
export async function compareReplicas(
  cluster: Cluster,
  state: State,
  flaws: KnownFlaws,
): Promise<string[]> {
  const stores = storesOf(cluster);
  const broken: string[] = [];
  for (const pg of state.facts.pgs.values()) {
    const copies = new Map<number, Map<string, string>>();
    for (const member of pg.inSync) {
      const store = stores.get(member);
      if (flaws.isDead(member)) continue;
      if (store === undefined) broken.push(`d${member} of pg${pg.id} is not open`);
      else {
        const copy = await digestsOf(store, pg.id);
        for (const address of copy.keys()) {
          if (flaws.damaged.has(`${member} ${pg.id} ${address}`)) copy.set(address, DAMAGED);
        }
        // The comparison itself may be the first to meet an injected error.
        if (store.failure === null) copies.set(member, copy);
      }
    }
    broken.push(...compareCopies(pg.id, copies));
  }
  return [...broken, ...checkUsage(stores)];
}

function compareCopies(pg: number, copies: ReadonlyMap<number, Map<string, string>>): string[] {
  const addresses = new Set([...copies.values()].flatMap((copy) => [...copy.keys()]));
  const broken: string[] = [];
  for (const address of addresses) {
    const digests = [...copies].map(([disk, copy]) => `d${disk}: ${copy.get(address) ?? EMPTY}`);
    const distinct = new Set([...copies.values()].map((copy) => copy.get(address) ?? EMPTY));
    distinct.delete(DAMAGED);
    if (distinct.size > 1) broken.push(`pg${pg} ${address} differs: ${digests.join(', ')}`);
  }
  return broken;
}

function checkUsage(stores: ReadonlyMap<number, ExtentStore>): string[] {
  const broken: string[] = [];
  for (const [disk, store] of stores) {
    const usage = store.usage();
    const byVolume = store.volumeUsage().reduce((sum, { bytes }) => sum + bytes, 0);
    const byPg = store.pgUsage().reduce((sum, { bytes }) => sum + bytes, 0);
    if (usage.usedBytes !== usage.usedSlots * EXTENT_BYTES || byVolume !== usage.usedBytes) {
      broken.push(`d${disk} uses ${usage.usedBytes} bytes, its volumes ${byVolume}`);
    }
    if (byPg !== usage.usedBytes) {
      broken.push(`d${disk} uses ${usage.usedBytes} bytes, its PGs ${byPg}`);
    }
  }
  return broken;
}

function entriesOf(store: ExtentStore, pg: number): ExtentEntry[] {
  const entries: ExtentEntry[] = [];
  let after: ExtentAddress | null = null;
  do {
    const page = store.listExtents(pg, after, PAGE);
    entries.push(...page.entries);
    after = page.next;
  } while (after !== null);
  return entries;
}

/** Of an extent that reads as zeros, which may as well not be there. */
const EMPTY = 'zeros';
const DAMAGED = 'damaged by a fault';
const ZEROS = Buffer.alloc(EXTENT_BYTES);

async function digestsOf(store: ExtentStore, pg: number): Promise<Map<string, string>> {
  const digests = new Map<string, string>();
  for (const entry of entriesOf(store, pg)) {
    const { volume, layer, extent } = entry;
    const digest = await digestOf(store, entry);
    // Left out when empty: absent extents and extents of zeros are the same to every reader.
    if (digest !== EMPTY) digests.set(`v${volume}.${layer}/${extent}`, digest);
    if (entry.incomplete) digests.set(`v${volume}.${layer}/${extent}`, 'incomplete');
  }
  return digests;
}

function digestOf(store: ExtentStore, entry: ExtentEntry): Promise<string> {
  const data = Buffer.alloc(EXTENT_BYTES);
  const checksums = Buffer.alloc(BLOCKS_PER_EXTENT * 4);
  const { volume, layer, extent } = entry;
  const request = {
    volume,
    layer,
    extent,
    block: 0,
    count: EXTENT_BYTES / BLOCK_BYTES,
    data,
    checksums,
    verify: true,
  };
  return new Promise((resolve) => {
    store.read(request, (status) => {
      if (status !== STATUS.ok) resolve(`unreadable (${status})`);
      else resolve(data.equals(ZEROS) ? EMPTY : crc32c(data).toString(16));
    });
  });
}

/**
 * What each volume has stored on each node, as reported. A node with many volumes reports them in turns (node-report.ts),
 * so what it said earlier is kept here: a thousand nodes times ten thousand volumes are numbers in arrays, one array per
 * node with one place per volume. A volume that a whole turn did not name has nothing there any more.
 */
import type { NodeId, VolumeId } from '../../../shared/base/ids.ts';
import type { NodeReport } from '../../../shared/model/node-report.ts';

interface NodeUsage {
  bytes: Float64Array;
  /** The turn in which each place was named last. */
  named: Uint32Array;
  turn: number;
  /** Where the next part of this turn begins; null: a part was missed, or the turn was not seen from its start. */
  next: number | null;
  /** A whole turn was seen: what is not named is not there. */
  isComplete: boolean;
}

/** Places are added so many at a time. */
const GROW_BY = 256;

export class UsageBook {
  readonly #places = new Map<VolumeId, number>();
  readonly #free: number[] = [];
  readonly #nodes = new Map<NodeId, NodeUsage>();

  /** Volumes that `isKnown` does not know are passed over: they are deleted. */
  take(node: NodeId, report: NodeReport, isKnown: (volume: VolumeId) => boolean): void {
    const usage = this.#nodes.get(node) ?? this.#open(node);
    const { volumeFrom: from = 0, volumeBelow: below = 0 } = report;
    if (from === 0) {
      usage.turn += 1;
      usage.next = 0;
    }
    if (usage.next !== from) usage.next = null;
    for (const { volume, bytes } of report.volumeUsage) {
      if (!isKnown(volume)) continue;
      const place = this.#placeOf(volume);
      if (place >= usage.bytes.length) enlarge(usage, place);
      // A volume has one entry for each of the node's disks.
      const sum = usage.named[place] === usage.turn ? (usage.bytes[place] ?? 0) : 0;
      usage.bytes[place] = sum + bytes;
      usage.named[place] = usage.turn;
    }
    if (usage.next === null) return;
    if (below === 0 || below >= VOLUME_END) endTurn(usage);
    else usage.next = below;
  }

  /** A new process there: what the one before said is over. */
  forgetNode(node: NodeId): void {
    this.#nodes.delete(node);
  }

  forgetVolume(volume: VolumeId): void {
    const place = this.#places.get(volume);
    if (place === undefined) return;
    this.#places.delete(volume);
    this.#free.push(place);
    for (const { bytes } of this.#nodes.values()) if (place < bytes.length) bytes[place] = 0;
  }

  /** Whether the node has told of all its volumes. */
  isComplete(node: NodeId): boolean {
    return this.#nodes.get(node)?.isComplete === true;
  }

  /** Bytes of the volumes (null: of all that have any) on all nodes that `isCounted`. */
  sum(
    volumes: ReadonlySet<VolumeId> | null,
    isCounted: (node: NodeId) => boolean,
  ): ReadonlyMap<VolumeId, number> {
    const counted = [...this.#nodes].filter(([node]) => isCounted(node)).map(([, usage]) => usage);
    const sums = new Map<VolumeId, number>();
    for (const volume of volumes ?? this.#places.keys()) {
      const place = this.#places.get(volume);
      if (place === undefined) continue;
      let sum = 0;
      for (const { bytes } of counted) sum += bytes[place] ?? 0;
      if (sum > 0) sums.set(volume, sum);
    }
    return sums;
  }

  #open(node: NodeId): NodeUsage {
    const usage: NodeUsage = {
      bytes: new Float64Array(0),
      named: new Uint32Array(0),
      turn: 0,
      next: null,
      isComplete: false,
    };
    this.#nodes.set(node, usage);
    return usage;
  }

  #placeOf(volume: VolumeId): number {
    const known = this.#places.get(volume);
    if (known !== undefined) return known;
    const place = this.#free.pop() ?? this.#places.size;
    this.#places.set(volume, place);
    return place;
  }
}

/** `volumeBelow` of a turn's last part: above every volume number. */
const VOLUME_END = 0xffff_ffff;

function enlarge(usage: NodeUsage, place: number): void {
  const length = Math.ceil((place + 1) / GROW_BY) * GROW_BY;
  const bytes = new Float64Array(length);
  const named = new Uint32Array(length);
  bytes.set(usage.bytes);
  named.set(usage.named);
  usage.bytes = bytes;
  usage.named = named;
}

function endTurn(usage: NodeUsage): void {
  const { bytes, named, turn } = usage;
  for (let place = 0; place < bytes.length; place += 1) {
    if (named[place] !== turn) bytes[place] = 0;
  }
  usage.isComplete = true;
  usage.next = null;
}

/** Blocks that no repair has made good so far: which ranges of which volumes, and what that means for readers. */
import { formatDisk, formatPg, formatVolume, type VolumeId } from '../../../shared/base/ids.ts';
import type { BadBlocks } from '../../../shared/model/node-report.ts';
import { explainDisk } from './explain-disk.ts';
import {
  causedBy,
  type Explanation,
  makeExplanation,
  open,
  type Scene,
  WAIT,
} from './explanation.ts';

/** Ranges that are spelt out; the rest is counted. */
const RANGES_SHOWN_MAX = 4;

/** One explanation per volume for what is lost, and one for what waits for repair. */
export function explainBadBlocks(
  scene: Scene,
  isMeant: (range: BadBlocks) => boolean = () => true,
): readonly Explanation[] {
  const groups = new Map<string, BadBlocks[]>();
  for (const [node, observed] of scene.state.nodes) {
    if (scene.state.facts.nodes.find(node)?.admin === 'gone') continue;
    for (const range of observed.report?.badBlocks ?? []) {
      if (!isMeant(range) || !scene.state.facts.volumes.has(range.volume)) continue;
      const key = `${range.volume} ${range.isLost}`;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [range]);
      else group.push(range);
    }
  }
  return [...groups.values()].flatMap((ranges) => explainGroup(scene, ranges));
}

function explainGroup(scene: Scene, ranges: readonly BadBlocks[]): readonly Explanation[] {
  const [first] = ranges;
  if (first === undefined) return [];
  const subject = formatVolume(first.volume);
  const shown = ranges.slice(0, RANGES_SHOWN_MAX).map(describe).join('; ');
  const more =
    ranges.length > RANGES_SHOWN_MAX ? `; and ${ranges.length - RANGES_SHOWN_MAX} more` : '';
  const disks = [...new Set(ranges.map((range) => range.disk))];
  const base = {
    kind: 'volume',
    subject,
    sinceMs: null,
    causes: disks.flatMap((id) => {
      const disk = scene.state.facts.disks.find(id);
      return disk === undefined ? [] : causedBy(explainDisk(scene, disk));
    }),
  } as const;
  const name = nameOf(scene, first.volume);
  if (first.isLost) {
    return [
      makeExplanation({
        ...base,
        state: 'blocks-lost',
        severity: 'critical',
        message: `Volume "${name}" has ranges of which no replica has a good copy: ${shown}${more}`,
        next: 'Reads of exactly these ranges get EIO, everything else is served; a range is good again once it is written anew',
        ...open('nothing can bring the old contents back by itself'),
        action:
          'Restore the ranges from a backup (write them again), or bring back a disk that left and may have a good copy',
        command: 'cistern events --limit 50',
      }),
    ];
  }
  return [
    makeExplanation({
      ...base,
      state: 'blocks-bad',
      severity: 'degraded',
      message: `Volume "${name}" has bad blocks on one replica: ${shown}${more}`,
      next: 'Reads are served from other replicas, and the blocks are repaired from them',
      ...open(
        'it is tried again and again; it succeeds when an in-sync replica with a good copy serves',
      ),
      ...WAIT,
    }),
  ];
}

function describe({ disk, pg, extent, block, blockCount }: BadBlocks): string {
  const last = block + blockCount - 1;
  const blocks = blockCount === 1 ? `block ${block}` : `blocks ${block} to ${last}`;
  return `extent ${extent}, ${blocks} (${formatPg(pg)} on ${formatDisk(disk)})`;
}

function nameOf({ state }: Scene, id: VolumeId): string {
  return state.facts.volumes.find(id)?.name ?? formatVolume(id);
}

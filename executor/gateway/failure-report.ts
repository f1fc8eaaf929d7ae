/** Which members keep this volume's writes waiting, for the manager (DESIGN 4.3). */
import type { DiskId } from '../../shared/base/ids.ts';
import type { MemberFailure } from '../../shared/model/node-report.ts';
import type { FlushWait } from './flusher.ts';
import type { Piece } from './piece.ts';
import type { VolumeContext } from './volume-context.ts';

/** A connection may be lost and found again within this time without anybody being told. */
const DOWN_MS_MIN = 300;
/** A reachable member that has not acked by then counts as failing: its disk hangs. */
const SLOW_MS_MIN = 5_000;

export function collectFailures(
  context: VolumeContext,
  pieces: Iterable<Piece>,
  flushWaits: readonly FlushWait[],
): readonly MemberFailure[] {
  const found = new Map<string, MemberFailure>();
  const now = context.clock.now();
  // Without the right to serve, it is this node that keeps writes waiting.
  if (!context.mayIssue()) return [];
  for (const piece of pieces) {
    const isWriting = piece.kind === 'write' || piece.kind === 'zero';
    if (!isWriting || !piece.isIssued) continue;
    piece.members.forEach((disk, member) => {
      if ((piece.pending & (1 << member)) === 0) return;
      note(context, found, { pg: piece.pg, disk, sinceMs: piece.issuedMs }, now);
    });
  }
  for (const wait of flushWaits) note(context, found, wait, now);
  return [...found.values()];
}

function note(
  context: VolumeContext,
  found: Map<string, MemberFailure>,
  wait: FlushWait,
  now: number,
): void {
  const view = context.map.pgs.get(wait.pg);
  if (view === undefined || !view.members.includes(wait.disk)) return;
  const waitedMs = now - wait.sinceMs;
  const reason = reasonOf(context, wait.disk, waitedMs);
  if (reason === '') return;
  const key = `${wait.pg}/${wait.disk}`;
  const known = found.get(key);
  if (known !== undefined && known.sinceMs >= waitedMs) return;
  found.set(key, {
    pg: wait.pg,
    epoch: view.epoch,
    disk: wait.disk,
    reason,
    sinceMs: Math.round(waitedMs),
  });
}

/** Empty while there is no reason for alarm. */
function reasonOf(context: VolumeContext, disk: DiskId, waitedMs: number): string {
  const link = context.linkOf(disk);
  // The disk's own word needs no waiting.
  if (link.failure !== '') return link.failure;
  const obstacle = link.obstacle();
  if (obstacle !== '') return waitedMs >= DOWN_MS_MIN ? obstacle : '';
  if (waitedMs < SLOW_MS_MIN) return '';
  const refusal = link.lastRefusal === '' ? '' : `, last refusal: ${link.lastRefusal}`;
  return `No ack for ${Math.round(waitedMs)} ms${refusal}`;
}

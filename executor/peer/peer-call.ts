/** One request to a peer as a promise, with a deadline. For background work; the hot path has no promises. */
import { StorageError } from '../../shared/base/errors.ts';
import type { Clock } from '../../shared/ports.ts';
import { type DataFrame, nameOf, OP, STATUS } from '../../shared/wire/data-protocol.ts';
import type { Peer, ReplyTarget } from './peer.ts';

/** What came back with status ok; the body is the receiver's. */
export interface PeerAnswer {
  readonly flags: number;
  readonly aux: number;
  readonly checksums: Uint8Array | null;
  readonly data: Uint8Array | null;
}

/** Rejects with `unavailable` (not sent, lost, refused for now), `timeout`,
 * `stale-epoch`, `fenced` (with the accepted `generation`) or `corrupt`. */
export function callPeer(
  peer: Peer,
  frame: DataFrame,
  clock: Clock,
  deadlineMs: number,
): Promise<PeerAnswer> {
  return new Promise((resolve, reject) => {
    const what = `${nameOf(OP, frame.op)} at "${peer.address}"`;
    let isOver = false;
    const timer = clock.after(deadlineMs, () => {
      isOver = true;
      reject(new StorageError('timeout', `Asked ${what}, no answer within ${deadlineMs} ms`));
    });
    const target: ReplyTarget = {
      onReply: (reply) => {
        timer.cancel();
        if (isOver) return;
        if (reply.status !== STATUS.ok) {
          reject(refusalOf(what, reply.status, reply.aux));
          return;
        }
        reply.takeBody();
        const { flags, aux, checksums, data } = reply;
        resolve({ flags, aux, checksums, data });
      },
      onLost: (_token, reason) => {
        timer.cancel();
        if (!isOver) reject(new StorageError('unavailable', `Asked ${what}: ${reason}`));
      },
    };
    if (peer.send(frame, target, 0)) return;
    timer.cancel();
    reject(new StorageError('unavailable', `Asked ${what}: ${peer.lastError}`));
  });
}

function refusalOf(what: string, status: number, aux: number): StorageError {
  const text = `Asked ${what}, refused with "${nameOf(STATUS, status)}"`;
  if (status === STATUS.staleEpoch) return new StorageError('stale-epoch', text);
  if (status === STATUS.fenced) return new StorageError('fenced', text, { generation: aux });
  if (status === STATUS.checksum) return new StorageError('corrupt', text);
  return new StorageError('unavailable', text);
}

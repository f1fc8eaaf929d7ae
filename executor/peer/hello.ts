/** The first frame of both directions: who speaks, of which cluster (proto/data-protocol.md). */
import { DataFrame, FLAG, type HelloBody, OP } from '../../shared/wire/data-protocol.ts';

export function encodeHello(body: HelloBody, isReply: boolean): DataFrame {
  const frame = new DataFrame();
  frame.op = OP.hello;
  frame.flags = isReply ? FLAG.reply : 0;
  frame.data = Buffer.from(JSON.stringify(body));
  return frame;
}

/** Null when the frame is no hello or its body is not what it should be. */
export function readHello(frame: DataFrame): HelloBody | null {
  if (frame.op !== OP.hello || frame.data === null) return null;
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(frame.data).toString('utf8'));
  } catch {
    // Not JSON: the other side is no peer of ours.
    return null;
  }
  if (typeof parsed !== 'object' || parsed === null) return null;
  const { clusterId, node, protocol } = parsed as Record<string, unknown>;
  if (typeof clusterId !== 'string' || typeof protocol !== 'number') return null;
  if (typeof node !== 'number' || !Number.isInteger(node) || node < 0) return null;
  return { clusterId, node, protocol };
}

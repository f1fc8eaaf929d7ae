/**
 * The data protocol's server on real sockets: bytes arrive cut where the seed says, in both ways of receiving.
 * Damaged ones end the connection with a reason; a connection opened before goes on.
 */

import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { expect } from 'chai';
import type { Prng } from '../../../shared/base/prng.ts';
import { MiB } from '../../../shared/base/units.ts';
import type { ReceiveMode } from '../../../shared/node/socket-receive.ts';
import { TcpNetwork } from '../../../shared/node/tcp-network.ts';
import { encodeFrame } from '../../../shared/wire/data-codec.ts';
import {
  DATA_BODY_BYTES_MAX,
  type DataFrame,
  OP,
  replyTo,
  STATUS,
} from '../../../shared/wire/data-protocol.ts';
import { FRAME_SAMPLES } from '../../unit/data-protocol/frame-samples.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { expectReason } from './fuzz-target.ts';
import { framesOf, frameVectors } from './target-data.ts';

/** Pieces of one input at most: each costs a turn of the loop on both sides. */
const PIECES_MAX = 12;

export async function socketTarget(mode: ReceiveMode): Promise<FuzzTarget> {
  const reasons: string[] = [];
  const network = new TcpNetwork(mode);
  const listener = await network.listen('127.0.0.1:0', (connection) => ({
    onFrame: (frame: DataFrame) => {
      if (frame.op === OP.ping) connection.send(replyTo(frame, STATUS.ok));
    },
    onClose: (reason) => reasons.push(reason),
  }));
  const port = Number(listener.address.split(':').pop()) satisfies AddressInfo['port'];
  const friend = connect(port, '127.0.0.1');
  const vectors = frameVectors();
  return {
    name: `socket ${mode}`,
    corpus: vectors,
    generate: (prng) => framesOf(prng, vectors),
    // Each is a store or some connections; target-data.ts cuts the same bytes everywhere.
    truncations: 8,
    memoryBytesMax: 2 * DATA_BODY_BYTES_MAX + 8 * MiB,
    run: async (input, prng) => {
      reasons.length = 0;
      await send(port, input, prng);
      await pingPong(friend);
      while (reasons.length === 0) await turn();
      for (const reason of reasons) expectReason(reason);
      expect(reasons, 'one connection ended, once').to.have.length(1);
    },
    close: async () => {
      friend.destroy();
      listener.close();
      await turn();
    },
  };
}

/** In pieces, each in a turn of its own; until the other side has closed too. */
async function send(port: number, input: Uint8Array, prng: Prng): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  socket.on('error', () => undefined);
  socket.resume();
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  await once(socket, 'connect');
  const pieces = prng.between(1, PIECES_MAX);
  const cuts = Array.from({ length: pieces - 1 }, () => prng.below(input.length + 1));
  let from = 0;
  for (const cut of [...cuts.sort((a, b) => a - b), input.length]) {
    if (cut > from) socket.write(input.subarray(from, cut));
    from = cut;
    await turn();
  }
  socket.end();
  await closed;
}

async function pingPong(friend: Socket): Promise<void> {
  const ping = FRAME_SAMPLES['ping'];
  if (ping === undefined) throw new Error('There is no ping among the samples');
  const expected = encodeFrame(replyTo(ping, STATUS.ok)).length;
  let received = 0;
  const answered = new Promise<void>((resolve) => {
    const take = (chunk: Buffer): void => {
      received += chunk.length;
      if (received < expected) return;
      friend.off('data', take);
      resolve();
    };
    friend.on('data', take);
  });
  friend.write(encodeFrame(ping));
  await answered;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

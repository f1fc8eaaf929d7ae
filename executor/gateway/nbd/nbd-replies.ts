/**
 * Replies of the second phase. With structured replies negotiated, READ and BLOCK_STATUS answer in
 * chunks (one, marked as the last); everything else, and everybody else, gets simple replies.
 */

import {
  CHUNK,
  CHUNK_HEADER_BYTES,
  COMMAND,
  COMMAND_FLAG,
  NBD_ERROR,
  OFFSET_DATA_HEADER_BYTES,
  SIMPLE_REPLY_BYTES,
  STATE,
  STATUS_ENTRY_BYTES,
  writeChunkHeader,
  writeSimpleReply,
  writeU64,
} from '../../../shared/wire/nbd.ts';
import type { BlockError } from '../block-device.ts';
import type { BufferPool } from '../buffer-pool.ts';
import { BASE_ALLOCATION_ID, type NbdTerms } from './nbd-handshake.ts';
import { COPIED_BYTES_MAX, type NbdOutput } from './nbd-output.ts';
import type { NbdSlot } from './nbd-slot.ts';

const ERRORS: Readonly<Record<BlockError, number>> = {
  io: NBD_ERROR.io,
  'no-space': NBD_ERROR.noSpace,
  invalid: NBD_ERROR.invalid,
  'read-only': NBD_ERROR.notPermitted,
  shutdown: NBD_ERROR.shutdown,
};

/** A reply carries so many runs (32 KiB); the client asks again for the rest. */
const STATUS_ENTRIES_MAX = 4096;

/** Answers what the device has completed. Takes over `slot.data` of a read. */
export function replyToSlot(
  slot: NbdSlot,
  terms: NbdTerms,
  output: NbdOutput,
  pool: BufferPool,
): void {
  if (slot.error !== null) {
    const { command, cookieHigh, cookieLow } = slot;
    writeErrorReply(command, ERRORS[slot.error], cookieHigh, cookieLow, terms, output);
    return;
  }
  if (slot.command === COMMAND.read) {
    writeReadReply(slot, terms, output, pool);
  } else if (slot.command === COMMAND.blockStatus) {
    writeStatusReply(slot, terms, output);
  } else {
    writePlainReply(slot.cookieHigh, slot.cookieLow, output);
  }
}

/** Success without data. */
export function writePlainReply(cookieHigh: number, cookieLow: number, output: NbdOutput): void {
  const target = output.reserve(SIMPLE_REPLY_BYTES);
  output.advance(writeSimpleReply(target, output.position, NBD_ERROR.none, cookieHigh, cookieLow));
}

export function writeErrorReply(
  command: number,
  error: number,
  cookieHigh: number,
  cookieLow: number,
  terms: NbdTerms,
  output: NbdOutput,
): void {
  const isChunk =
    terms.isStructured && (command === COMMAND.read || command === COMMAND.blockStatus);
  if (!isChunk) {
    const target = output.reserve(SIMPLE_REPLY_BYTES);
    output.advance(writeSimpleReply(target, output.position, error, cookieHigh, cookieLow));
    return;
  }
  // Error number and the length of a message that we do not send.
  const payloadBytes = 6;
  const target = output.reserve(CHUNK_HEADER_BYTES + payloadBytes);
  let at = output.position;
  at = writeChunkHeader(target, at, CHUNK.error, cookieHigh, cookieLow, payloadBytes);
  target.writeUInt32BE(error, at);
  target.writeUInt16BE(0, at + 4);
  output.advance(at + payloadBytes);
}

function writeReadReply(slot: NbdSlot, terms: NbdTerms, output: NbdOutput, pool: BufferPool): void {
  const data = slot.data;
  const { cookieHigh, cookieLow, length } = slot;
  if (data === null || data.length !== length) {
    // A device that breaks its contract must not make us send bytes that nobody read.
    writeErrorReply(slot.command, NBD_ERROR.io, cookieHigh, cookieLow, terms, output);
    return;
  }
  const isCopied = length <= COPIED_BYTES_MAX;
  const target = output.reserve(OFFSET_DATA_HEADER_BYTES + (isCopied ? length : 0));
  let at = output.position;
  if (terms.isStructured) {
    at = writeChunkHeader(target, at, CHUNK.offsetData, cookieHigh, cookieLow, 8 + length);
    at = writeU64(target, at, slot.offset);
  } else {
    at = writeSimpleReply(target, at, NBD_ERROR.none, cookieHigh, cookieLow);
  }
  if (isCopied) {
    data.copy(target, at);
    output.advance(at + length);
    pool.release(data);
  } else {
    output.advance(at);
    output.append(data);
  }
}

/** Runs of equal state, joined and cut to the range that was asked for. */
function writeStatusReply(slot: NbdSlot, terms: NbdTerms, output: NbdOutput): void {
  const entriesMax = (slot.flags & COMMAND_FLAG.reqOne) !== 0 ? 1 : STATUS_ENTRIES_MAX;
  const runs: { length: number; state: number }[] = [];
  let covered = 0;
  for (const status of slot.statuses ?? []) {
    const length = Math.min(status.length, slot.length - covered);
    if (length <= 0) continue;
    const state = status.isHole ? STATE.hole | STATE.zero : status.isZero ? STATE.zero : 0;
    const last = runs.at(-1);
    if (last !== undefined && last.state === state) last.length += length;
    else if (runs.length < entriesMax) runs.push({ length, state });
    else break;
    covered += length;
  }
  const { cookieHigh, cookieLow } = slot;
  if (runs.length === 0) {
    writeErrorReply(slot.command, NBD_ERROR.io, cookieHigh, cookieLow, terms, output);
    return;
  }
  const payloadBytes = 4 + runs.length * STATUS_ENTRY_BYTES;
  const target = output.reserve(CHUNK_HEADER_BYTES + payloadBytes);
  let at = output.position;
  at = writeChunkHeader(target, at, CHUNK.blockStatus, cookieHigh, cookieLow, payloadBytes);
  target.writeUInt32BE(BASE_ALLOCATION_ID, at);
  at += 4;
  for (const run of runs) {
    target.writeUInt32BE(run.length, at);
    target.writeUInt32BE(run.state, at + 4);
    at += STATUS_ENTRY_BYTES;
  }
  output.advance(at);
}

/**
 * What a store may contain, block by block, judged from outside. A block has the value it surely had
 * at some moment (`base`) and the values given to it since; which of them a crash may leave depends on
 * what was acked and flushed.
 */
import { expect } from 'chai';
import { BLOCK_BYTES } from '../../../shared/base/units.ts';
import { PRESENCE } from '../../../shared/wire/data-protocol.ts';

/** `bytes` null: absent or zero. */
export interface BlockValue {
  readonly presence: number;
  readonly bytes: Buffer | null;
}

interface Change {
  readonly value: BlockValue;
  readonly order: number;
  isAcked: boolean;
  isRefused: boolean;
}

interface BlockState {
  base: BlockValue;
  changes: Change[];
}

export const ABSENT: BlockValue = { presence: PRESENCE.absent, bytes: null };
export const ZERO: BlockValue = { presence: PRESENCE.zero, bytes: null };

export class BlockModel {
  readonly #blocks = new Map<string, BlockState>();
  #order = 0;

  get order(): number {
    return this.#order;
  }

  keys(): IterableIterator<string> {
    return this.#blocks.keys();
  }

  /** The block gets a value; call the result when it is acked (true) or refused (false). */
  begin(key: string, value: BlockValue): (isDone: boolean) => void {
    const state = this.#stateOf(key);
    this.#order += 1;
    const change: Change = { value, order: this.#order, isAcked: false, isRefused: false };
    state.changes.push(change);
    return (isDone) => {
      change.isAcked = isDone;
      change.isRefused = !isDone;
      if (!isDone) state.changes = state.changes.filter((other) => other !== change);
    };
  }

  /** Everything acked when order was `through` is flushed now. */
  flushed(acked: ReadonlySet<unknown>): void {
    for (const state of this.#blocks.values()) {
      for (let index = state.changes.length - 1; index >= 0; index -= 1) {
        const change = state.changes[index];
        if (change === undefined || !acked.has(change)) continue;
        state.base = change.value;
        state.changes = state.changes.slice(index + 1);
        break;
      }
    }
  }

  /** Changes that are acked now: what a flush that starts now covers. */
  ackedNow(): ReadonlySet<unknown> {
    const acked = new Set<unknown>();
    for (const state of this.#blocks.values()) {
      for (const change of state.changes) if (change.isAcked) acked.add(change);
    }
    return acked;
  }

  /** Values that a read may return now, and the death of the process may leave. */
  possible(key: string): readonly BlockValue[] {
    const { base, changes } = this.#stateOf(key);
    let last = -1;
    changes.forEach((change, index) => {
      if (change.isAcked) last = index;
    });
    const later = changes.slice(last + 1).map((change) => change.value);
    // Acks of neighbours may come out of order: earlier changes without an ack were overtaken.
    return [last < 0 ? base : (changes[last]?.value ?? base), ...later];
  }

  /** Values of which the loss of power may leave any, or a mixture of sectors. */
  afterPowerLoss(key: string): readonly BlockValue[] {
    const { base, changes } = this.#stateOf(key);
    return [base, ...changes.map((change) => change.value)];
  }

  /** From now on the block has this value. */
  settle(key: string, value: BlockValue): void {
    const state = this.#stateOf(key);
    state.base = value;
    state.changes = [];
  }

  #stateOf(key: string): BlockState {
    let state = this.#blocks.get(key);
    if (state === undefined) {
      state = { base: ABSENT, changes: [] };
      this.#blocks.set(key, state);
    }
    return state;
  }
}

const ZEROS = Buffer.alloc(BLOCK_BYTES);

/** Fails unless the value is one of those allowed; with `mayMix`, its bytes may come from several. */
export function expectAllowed(
  found: BlockValue,
  allowed: readonly BlockValue[],
  where: string,
  mayMix: boolean,
): void {
  const text = allowed.map((value) => describeValue(value)).join(', ');
  const message = `${where}: found ${describeValue(found)}, allowed ${text}`;
  if (found.bytes === null) {
    expect(
      allowed.some((value) => value.presence === found.presence),
      message,
    ).to.equal(true);
    return;
  }
  const candidates = allowed.filter((value) => value.presence === PRESENCE.data);
  if (candidates.some((value) => value.bytes?.equals(found.bytes ?? ZEROS) === true)) return;
  // Zeroing that was cut short may have lost its record and kept its zeros: that is what it wrote.
  const wasZeroed = allowed.slice(1).some((value) => value.bytes === null);
  if (wasZeroed && candidates.length > 0 && found.bytes.equals(ZEROS)) return;
  expect(mayMix && candidates.length > 0, message).to.equal(true);
  expect(found.bytes.equals(ZEROS), `${message} (zeros)`).to.equal(false);
  const sources = allowed.map((value) => value.bytes ?? ZEROS);
  for (let index = 0; index < BLOCK_BYTES; index += 1) {
    const isKnown = sources.some((source) => source[index] === found.bytes?.[index]);
    expect(isKnown, `${message} (byte ${index})`).to.equal(true);
  }
}

function describeValue(value: BlockValue): string {
  if (value.presence === PRESENCE.absent) return 'absent';
  if (value.presence === PRESENCE.zero) return 'zero';
  return `data ${value.bytes?.subarray(0, 4).toString('hex')}…${value.bytes?.subarray(-4).toString('hex')}`;
}

/** A block that tells by every word of it which write it was. */
export function stamped(write: number): Buffer {
  const bytes = Buffer.alloc(BLOCK_BYTES);
  for (let index = 0; index < BLOCK_BYTES; index += 4) bytes.writeUInt32LE(write, index);
  return bytes;
}

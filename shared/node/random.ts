/** Randomness from the system. */
import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import type { Random } from '../ports.ts';

export const systemRandom: Random = {
  u32: () => randomBytes(4).readUInt32LE(0),
  below: (limit: number) => randomInt(limit),
  uuid: () => randomUUID(),
};

/** The `leader` record of a coordination service: who took the seat last. */
import { StorageError } from '../../shared/base/errors.ts';
import { parseJson } from './documents.ts';

export interface Taken {
  readonly term: number;
  readonly address: string;
  /** Name of its node in the election: it leads for as long as that is there. */
  readonly candidate: string;
}

/** Null for a node that nobody has written yet. Throws `corrupt`. */
export function readTaken(data: Buffer | undefined): Taken | null {
  if (data === undefined || data.length === 0) return null;
  const value = parseJson(data.toString('utf8'), 'leader') as Partial<Taken> | null;
  const { term, address, candidate } = value ?? {};
  if (typeof term !== 'number' || !Number.isSafeInteger(term)) {
    throw new StorageError('corrupt', `Metadata "leader" has term ${JSON.stringify(term)}`);
  }
  return { term, address: String(address), candidate: String(candidate) };
}

/**
 * What a new leader tells an executor at the address where it answers grants: where the manager is now. The
 * same comes through Mesos, which may be away. Travels as JSON; decoding is hostile.
 */
import { StorageError } from '../base/errors.ts';

export interface Announcement {
  readonly clusterId: string;
  /** `host:port` of the control server. */
  readonly address: string;
  readonly term: number;
}

/** Real ones have a hundred bytes. */
const BYTES_MAX = 4_096;

export function encodeAnnouncement(announcement: Announcement): Buffer {
  return Buffer.from(JSON.stringify(announcement), 'utf8');
}

/** Throws `protocol`. */
export function decodeAnnouncement(bytes: Uint8Array): Announcement {
  if (bytes.length > BYTES_MAX) throw refused(`${bytes.length} bytes are too many`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw refused('it is not JSON');
  }
  if (typeof value !== 'object' || value === null) throw refused('it is no object');
  const { clusterId, address, term } = value as Readonly<Record<string, unknown>>;
  if (typeof clusterId !== 'string' || clusterId === '') throw refused('no cluster id');
  if (typeof address !== 'string' || !/^.+:\d{1,5}$/.test(address)) throw refused('no address');
  if (typeof term !== 'number' || !Number.isSafeInteger(term) || term < 0) throw refused('no term');
  return { clusterId, address, term };
}

function refused(why: string): StorageError {
  return new StorageError('protocol', `Decoding an announcement of a manager: ${why}`);
}

/**
 * Writes the whole state as a snapshot, slice by slice, so that neither the event loop nor a transaction
 * sees all of it at once. Nothing of it counts until the head names its index.
 */
import type { Random, StoreEntry } from '../../shared/ports.ts';
import type { NodeName, NodePut, Seat } from './coordinator.ts';
import { TRANSACTION_BYTES_MAX, TRANSACTION_NODES_MAX } from './coordinator.ts';
import { cutDocument, encodeDocument } from './documents.ts';
import { encodeEntries } from './journal-head.ts';

/** Characters of one slice: some ten milliseconds of this process's time. */
const SLICE_CHARS = 2 * 1024 * 1024;

export interface WrittenSnapshot {
  /** Goes into the transaction that moves the head. */
  readonly index: NodePut;
  readonly parts: readonly NodeName[];
  /** Of all documents, compressed. */
  readonly bytes: number;
}

export async function writeSnapshot(
  seat: Seat,
  entries: ReadonlyMap<string, string>,
  revision: number,
  random: Random,
): Promise<WrittenSnapshot> {
  const documents: (readonly NodeName[])[] = [];
  let bytes = 0;
  for (const slice of slices(entries)) {
    const document = await encodeDocument(encodeEntries(slice));
    bytes += document.length;
    documents.push(await stageParts(seat, cutDocument(document), random));
  }
  const name: NodeName = `snapshots/${String(revision).padStart(12, '0')}-${random.uuid()}`;
  const index = { name, bytes: Buffer.from(JSON.stringify(documents)) };
  return { index, parts: documents.flat(), bytes };
}

function* slices(entries: ReadonlyMap<string, string>): Generator<readonly StoreEntry[]> {
  let slice: StoreEntry[] = [];
  let size = 0;
  for (const [key, value] of entries) {
    slice.push({ key, value });
    size += key.length + value.length;
    if (size < SLICE_CHARS) continue;
    yield slice;
    slice = [];
    size = 0;
  }
  if (slice.length > 0) yield slice;
}

/** Puts parts under names of their own; as many in one transaction as it takes. */
export async function stageParts(
  seat: Seat,
  parts: readonly Buffer[],
  random: Random,
): Promise<readonly NodeName[]> {
  const stage = random.uuid();
  const names: NodeName[] = [];
  let batch: NodePut[] = [];
  let size = 0;
  const flush = async (): Promise<void> => {
    if (batch.length > 0) await seat.write({ puts: batch });
    batch = [];
    size = 0;
  };
  for (const bytes of parts) {
    if (size + bytes.length > TRANSACTION_BYTES_MAX || batch.length >= TRANSACTION_NODES_MAX) {
      await flush();
    }
    const name: NodeName = `parts/${stage}-${names.length}`;
    names.push(name);
    batch.push({ name, bytes });
    size += bytes.length;
  }
  await flush();
  return names;
}

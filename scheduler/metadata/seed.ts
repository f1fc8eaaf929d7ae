/** First content of an empty metadata store of any kind: the facts of a recovered cluster. */
import { StorageError } from '../../shared/base/errors.ts';
import type { MetadataStore, StoreEntry } from '../../shared/ports.ts';

/**
 * One commit: a crash leaves the store empty. Terms go on above `term`. `name` is for people. Rejects with
 * `already-exists` when the store holds facts, `conflict` when a scheduler leads on it.
 */
export async function seedStore(
  store: MetadataStore,
  name: string,
  term: number,
  entries: readonly StoreEntry[],
): Promise<void> {
  const leader = await store.leader();
  if (leader !== null) {
    throw new StorageError(
      'conflict',
      `Metadata store ${name} is led by the scheduler at "${leader.address}"; stop it first`,
      { term: leader.term },
    );
  }
  await store.campaign({ address: '', aboveTerm: term });
  const { entries: found, revision } = await store.load();
  if (found.length > 0 || revision > 0) {
    throw new StorageError(
      'already-exists',
      `Metadata store ${name} is not empty: it holds ${found.length} records of revision ${revision}`,
      { records: found.length, revision },
    );
  }
  await store.commit(entries, revision);
  await store.resign();
}

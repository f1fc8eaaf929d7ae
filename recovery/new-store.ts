/** Where `cistern recover` writes the facts it has found: an empty store of any kind. */
import { openStore, storeName } from '../scheduler/metadata/open-store.ts';
import { seedStore } from '../scheduler/metadata/seed.ts';
import { readStoreSettings, type StoreSettings } from '../scheduler/store-settings.ts';
import { StorageError } from '../shared/base/errors.ts';
import { systemClock } from '../shared/node/clock.ts';
import { systemRandom } from '../shared/node/random.ts';
import type { StoreEntry } from '../shared/ports.ts';
import { findProtoDirectory } from './proto-directory.ts';

export interface StoreChoice {
  readonly store: string | null;
  readonly stateDirectory: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** A service that does not answer shall not keep an operator waiting in the dark. */
const WRITE_DEADLINE_MS = 60_000;

/** The same rules as the scheduler's own. Throws `invalid-argument`. */
export function storeSettings(choice: StoreChoice, clusterName: string): StoreSettings {
  const { store, stateDirectory, environment } = choice;
  if (store === null) return { kind: 'embedded', directory: stateDirectory };
  const reader = {
    optionalText: (option: string, variable: string): string | null =>
      option === 'store' ? store : environment[`CISTERN_${variable}`] || null,
    number: (_option: string, _variable: string, fallback: number): number => fallback,
  };
  return readStoreSettings(reader, clusterName, '', stateDirectory);
}

/** Rejects with `already-exists` or `conflict` for a store that is not empty, `timeout` when it does not answer. */
export async function writeStore(
  settings: StoreSettings,
  term: number,
  entries: readonly StoreEntry[],
  report: (text: string) => void,
): Promise<void> {
  const store = openStore(settings, findProtoDirectory(), {
    clock: systemClock,
    random: systemRandom,
    log: (_level, message, fields) => report(`${message}: ${JSON.stringify(fields)}`),
  });
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const seconds = WRITE_DEADLINE_MS / 1000;
      const message = `Metadata store "${storeName(settings)}" was not written within ${seconds} s`;
      reject(new StorageError('timeout', message));
    }, WRITE_DEADLINE_MS);
  });
  try {
    await Promise.race([seedStore(store, `"${storeName(settings)}"`, term, entries), deadline]);
  } finally {
    clearTimeout(timer);
    await store.close();
  }
}

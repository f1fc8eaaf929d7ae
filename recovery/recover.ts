/**
 * `cistern recover`: hears executors and disks, decides, and writes the new metadata store. What it does
 * to the world is one commit in an empty store; everything before only reads.
 */

import { storeName as nameOf } from '../scheduler/metadata/open-store.ts';
import { loadControlCodec } from '../shared/node/control-codec.ts';
import { type Choices, type Decision, decideRecovery } from './decision.ts';
import { hearExecutors } from './executor-witness.ts';
import { hearFolder, peekMap } from './folder-witness.ts';
import { storeSettings, writeStore } from './new-store.ts';
import { findProtoDirectory } from './proto-directory.ts';
import { findStores, type StoreFolder } from './store-folders.ts';
import type { Witness } from './witness.ts';

export interface RecoverOptions {
  /** `host:port` of executors (their grant addresses); each names the others. */
  readonly executors: readonly string[];
  /** Folders of disks, or above them. */
  readonly folders: readonly string[];
  /** Address of the new store (`zk://…`, `etcd://…`); null: embedded, in `stateDirectory`. */
  readonly store: string | null;
  readonly stateDirectory: string;
  /** For what an address of a store does not say: files with credentials and certificates. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly scratchDirectory: string | null;
  readonly choices: Choices;
  readonly isPlanOnly: boolean;
}

export interface RecoverOutcome {
  readonly decision: Decision;
  readonly heard: readonly { readonly source: string; readonly mapVersion: number | null }[];
  /** Who did not answer, and what could not be read. */
  readonly problems: readonly string[];
  readonly isWritten: boolean;
  /** For people; null when nothing can be recovered. */
  readonly storeName: string | null;
}

/** Throws `already-exists` or `conflict` for a store that is not empty, `not-found` for a folder. */
export async function recover(
  options: RecoverOptions,
  report: (text: string) => void,
): Promise<RecoverOutcome> {
  const codec = loadControlCodec(findProtoDirectory());
  const problems: string[] = [];
  const { stores, problems: unreadable } = findStores(options.folders);
  problems.push(...unreadable);
  const addresses = new Set(options.executors);
  for (const folder of stores) {
    for (const node of peekMap(folder, codec)?.map.nodes ?? []) {
      if (node.grantAddress !== null) addresses.add(node.grantAddress);
    }
  }
  report(`Asking executors (${addresses.size} addresses known so far) …`);
  const hearing = await hearExecutors(codec, [...addresses]);
  problems.push(...hearing.silent);
  const witnesses: Witness[] = [...hearing.witnesses];
  for (const folder of unheardOf(stores, witnesses)) {
    report(`Reading "${folder.path}" …`);
    const heard = await hearFolder(folder, codec, options.scratchDirectory);
    witnesses.push(heard.witness);
    problems.push(...heard.problems);
  }
  const decision = decideRecovery(witnesses, options.choices);
  const isWritten = decision.kind === 'plan' && !options.isPlanOnly;
  if (decision.kind === 'plan' && isWritten) {
    const settings = storeSettings(options, decision.clusterName);
    await writeStore(settings, decision.term, decision.entries, report);
  }
  const storeName =
    decision.kind === 'plan' ? nameOf(storeSettings(options, decision.clusterName)) : null;
  const heard = witnesses.map(({ source, known }) => ({
    source,
    mapVersion: known?.map.version ?? null,
  }));
  return { decision, heard, problems, isWritten, storeName };
}

/** Disks of which no running executor spoke. */
function unheardOf(
  stores: readonly StoreFolder[],
  witnesses: readonly Witness[],
): readonly StoreFolder[] {
  const heard = new Set(witnesses.flatMap(({ disks }) => disks.map(({ uuid }) => uuid)));
  return stores.filter(({ superblock }) => !heard.has(superblock.uuid));
}

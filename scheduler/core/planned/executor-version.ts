/**
 * Which version of the executor a node gets when one has to be started there. A node keeps the version that it runs
 * until an upgrade's turn comes to it (upgrade.ts): a crash must not upgrade it by the way. Only when the old version
 * cannot be had any more a node gets the one of this scheduler.
 */
import type { NodeId } from '../../../shared/base/ids.ts';
import type { ExecutorArtefact } from '../contract.ts';
import type { NodeRecord, UpgradeRecord } from '../records.ts';
import type { State } from '../state.ts';

/** The upgrade that is not over; null: none. */
export function activeUpgrade(state: Pick<State, 'facts'>): UpgradeRecord | null {
  const upgrade = state.facts.cluster.upgrade ?? null;
  return upgrade === null || upgrade.phase === 'done' ? null : upgrade;
}

export function targetOf(upgrade: UpgradeRecord): ExecutorArtefact {
  return upgrade.direction === 'forward' ? upgrade.to : upgrade.from;
}

export function versionOf(state: State, node: NodeRecord): string {
  return node.artefact?.version ?? state.options.executor.version;
}

/** The node's executor is ended on purpose, so that the next version can start. */
export function isBeingRestarted(state: State, id: NodeId): boolean {
  const upgrade = activeUpgrade(state);
  if (upgrade?.current?.node !== id) return false;
  return versionOf(state, state.facts.nodes.get(id)) !== targetOf(upgrade).version;
}

/** What the next executor on this node is started with. */
export function nextArtefact(state: State, node: NodeRecord): ExecutorArtefact {
  const upgrade = activeUpgrade(state);
  const target = upgrade === null ? state.options.executor : targetOf(upgrade);
  const isDue = upgrade?.current?.node === node.id;
  // Whoever is down while the cluster goes back is down because of the version that it leaves.
  const isGoingBack = upgrade?.direction === 'back' && upgrade.phase === 'running';
  if (isDue || isGoingBack) return findArtefact(state, target) ?? target;
  const own = node.artefact;
  const kept = own === undefined ? null : findArtefact(state, own);
  return kept ?? findArtefact(state, target) ?? state.options.executor;
}

/** A new node runs what most nodes run. */
export function newNodeArtefact(state: State): ExecutorArtefact {
  const counts = new Map<string, { readonly artefact: ExecutorArtefact; count: number }>();
  for (const { admin, artefact } of state.facts.nodes.values()) {
    if (admin === 'gone' || artefact === undefined) continue;
    const known = counts.get(artefact.version);
    if (known === undefined) counts.set(artefact.version, { artefact, count: 1 });
    else known.count += 1;
  }
  const [most] = [...counts.values()].toSorted((a, b) => b.count - a.count);
  const kept = most === undefined ? null : findArtefact(state, most.artefact);
  return kept ?? state.options.executor;
}

/**
 * That version as this scheduler can start it today (addresses change with the scheduler's host). What needs nothing
 * fetched (a path, an image) can be started as it was; null: nobody serves its files any more.
 */
export function findArtefact(state: State, wanted: ExecutorArtefact): ExecutorArtefact | null {
  const { executor, earlierExecutors = [] } = state.options;
  const served = [executor, ...earlierExecutors].find(({ version }) => version === wanted.version);
  return served ?? (wanted.uris.length === 0 ? wanted : null);
}

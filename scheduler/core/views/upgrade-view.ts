/** What the operator API says of the executors' versions. */
import { formatNode } from '../../../shared/base/ids.ts';
import type { UpgradeNodeView, UpgradeView } from '../../../shared/model/api-views.ts';
import { activeUpgrade, targetOf, versionOf } from '../planned/executor-version.ts';
import { describeUpgrade, upgradable } from '../planned/upgrade.ts';
import type { NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';

export function upgradeView(state: State, now: Now): UpgradeView {
  const { version } = state.options.executor;
  const known = state.facts.cluster.upgrade ?? null;
  const active = activeUpgrade(state);
  const target = active === null ? version : targetOf(active).version;
  const nodes = upgradable(state).map((node) => nodeView(state, node, target));
  return {
    state: wordOf(state, nodes),
    version,
    target: known === null ? null : targetOf(known).version,
    previous: known === null ? null : known.from.version,
    isRollback: known?.direction === 'back',
    reason: describeUpgrade(state, now),
    nodes,
  };
}

function wordOf(state: State, nodes: readonly UpgradeNodeView[]): UpgradeView['state'] {
  const active = activeUpgrade(state);
  if (active !== null) return active.phase;
  const known = state.facts.cluster.upgrade ?? null;
  // Rolled back on purpose: that this scheduler brings another version is no news.
  if (known?.direction === 'back') return 'done';
  if (nodes.some((node) => node.state !== 'done')) return 'available';
  return known === null ? 'none' : 'done';
}

function nodeView(state: State, node: NodeRecord, target: string): UpgradeNodeView {
  const version = versionOf(state, node);
  const isCurrent = activeUpgrade(state)?.current?.node === node.id;
  return {
    node: formatNode(node.id),
    hostname: node.hostname,
    version,
    state: isCurrent ? 'current' : version === target ? 'done' : 'waiting',
  };
}

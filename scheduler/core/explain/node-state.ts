/** A node's state in one word with one sentence: what views show and explanations begin with. */
import { formatDuration } from '../../../shared/base/units.ts';
import type { NodeView } from '../../../shared/model/api-views.ts';
import { isNodeMapped } from '../map.ts';
import { memberCount } from '../members/members.ts';
import { silenceMs } from '../members/sessions.ts';
import { isCertainlyNotServing, isNodeUp } from '../nodes/node-life.ts';
import { describeOpening, findWindow, isEmpty, isEvacuating } from '../planned/maintenance.ts';
import type { NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';

export type NodeWord = NodeView['state'];

export interface NodeState {
  readonly word: NodeWord;
  readonly reason: string;
}

export function nodeState(state: State, node: NodeRecord, now: Now): NodeState {
  if (node.admin === 'gone') return { word: 'gone', reason: 'Forgotten by an operator' };
  const observed = state.nodes.get(node.id);
  if (!isNodeMapped(node)) {
    return {
      word: 'starting',
      reason: 'Its disks are claimed; its executor has not been heard yet',
    };
  }
  if (isNodeUp(state, node)) {
    if (node.admin === 'active') return evacuationState(state, node, now);
    const reason =
      node.admin === 'drained' ? 'Holds no replica any more' : drainReason(state, node);
    return { word: node.admin, reason };
  }
  const silence = observed === undefined ? null : silenceMs(observed, now.ms);
  if (!node.isFenced && silence !== null && silence < state.options.silentMs) {
    // A session that was lost a moment ago, or has just been opened.
    return observed?.report === null
      ? { word: 'starting', reason: 'Its executor said hello; its first report is awaited' }
      : { word: 'up', reason: 'Its session was lost a moment ago; it holds its lease' };
  }
  const heard =
    silence === null
      ? 'not heard since the manager started'
      : `silent for ${formatDuration(silence)}`;
  if (observed?.executor === 'dead')
    return { word: 'down', reason: 'Mesos says its executor is dead' };
  if (node.isFenced && !isCertainlyNotServing(state, node, now.ms)) {
    return { word: 'fenced', reason: `${capitalize(heard)}; its lease may still run` };
  }
  return { word: 'down', reason: capitalize(heard) };
}

/** Up, unless a maintenance window empties it. */
function evacuationState(state: State, node: NodeRecord, now: Now): NodeState {
  const window = findWindow(node, now);
  if (!isEvacuating(node) || window === null) return { word: 'up', reason: '' };
  const opens = `Its maintenance ${describeOpening(window, now)}`;
  return isEmpty(state, node)
    ? { word: 'drained', reason: `${opens}; it is empty` }
    : { word: 'draining', reason: `${opens}; ${drainReason(state, node)}` };
}

function drainReason(state: State, node: NodeRecord): string {
  const disks = [...state.facts.disks.values()].filter((disk) => disk.node === node.id);
  const left = disks.reduce((sum, disk) => sum + memberCount(state, disk.id), 0);
  // Where there is no room for all copies the drain waits, and the plan says why.
  const obstacles = disks.flatMap((disk) => state.work.explanations.get(disk.pool) ?? []);
  const waits = obstacles[0] === undefined ? '' : `; ${obstacles[0]}`;
  return `${left} replicas are still to move to other nodes${waits}`;
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * Agents as the operator sees them: what the last offer of each held, what became of it and why, in the
 * words of whoever decided (`pools/pass-reason.ts`). An agent of ours that offered nothing is there too,
 * with the reason for the silence. Reads only; offers are observed, so a new manager begins without them.
 */
import { formatDisk, formatNode, parseNode } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import type { AgentDiskView, AgentView } from '../../../shared/model/agent-view.ts';
import { describeAnswer } from '../mesos/offer-look.ts';
import { wantedWork } from '../mesos/offers.ts';
import type { SeenAgent, SeenDisk } from '../pools/pass-reason.ts';
import type { NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';

/** Offers that are wanted come every second, or after two minutes from agents that were declined. */
const SILENT_MS = 600_000;

/** Agents that offered something, and those of our nodes; by host name. */
export function agentViews(state: State, now: Now): AgentView[] {
  const views = [...state.mesos.seenAgents.values()].map((seen) => seenView(state, seen, now));
  for (const node of state.facts.nodes.values()) {
    if (node.admin === 'gone' || state.mesos.seenAgents.has(node.agentId)) continue;
    views.push(unseenView(state, node, now));
  }
  return views.sort((a, b) => compare(a.hostname, b.hostname) || compare(a.id, b.id));
}

/** By Mesos' id, by node (`n3`), or by host name: then the one that offered last. null: nobody knows it. */
export function agentView(state: State, given: string, now: Now): AgentView | null {
  const id = parseNode(given);
  const node =
    (id === null ? undefined : state.facts.nodes.find(id)) ?? findNodeOf(state, given) ?? null;
  const { seenAgents } = state.mesos;
  // The map is in the order of the last offers.
  const named = [...seenAgents.values()].filter(({ hostname }) => hostname === given).at(-1);
  const seen = seenAgents.get(given) ?? named ?? (node && seenAgents.get(node.agentId));
  if (seen) return seenView(state, seen, now);
  return node === null ? null : unseenView(state, node, now);
}

function findNodeOf(state: State, given: string): NodeRecord | undefined {
  for (const node of state.facts.nodes.values()) {
    if (node.agentId === given || node.hostname === given) return node;
  }
  return undefined;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function seenView(state: State, seen: SeenAgent, now: Now): AgentView {
  const { agentId: id, hostname, zone, region, attributes, answer, reason, earlier } = seen;
  const at = (ms: number): string => new Date(now.wallMs - (now.ms - ms)).toISOString();
  return {
    id,
    hostname,
    node: seen.node === null ? null : formatNode(seen.node),
    zone,
    region,
    attributes,
    lastOfferAt: at(seen.atMs),
    answer,
    summary: summaryOf(state, seen, now),
    reason,
    disks: seen.disks.map(diskView),
    earlier: earlier.map((one) => ({ at: at(one.atMs), answer: one.answer, why: one.why })),
  };
}

function diskView({ kind, root, sizeBytes, owner, disk, reasons }: SeenDisk): AgentDiskView {
  return {
    kind,
    root,
    sizeBytes,
    owner,
    disk: disk === null ? null : formatDisk(disk),
    reasons,
  };
}

function summaryOf(state: State, seen: SeenAgent, now: Now): string {
  const silentMs = now.ms - seen.atMs;
  const text = describeAnswer(seen);
  if (silentMs < SILENT_MS) return text;
  return `${text}; nothing was offered for ${formatDuration(silentMs)} since: ${whySilent(state, now)}`;
}

function unseenView(state: State, node: NodeRecord, now: Now): AgentView {
  const { agentId: id, hostname, zone, region, attributes } = node;
  return {
    id,
    hostname,
    node: formatNode(node.id),
    zone,
    region,
    attributes,
    lastOfferAt: null,
    answer: null,
    summary: `It has offered nothing since this manager began: ${whySilent(state, now)}`,
    reason: null,
    disks: [],
    earlier: [],
  };
}

/** Why no offer comes, as far as it can be known: Mesos itself does not say. */
function whySilent(state: State, now: Now): string {
  const { mesos } = state;
  if (!mesos.isSubscribed)
    return `there is no subscription at the master (${mesos.disconnectReason})`;
  if (!mesos.isReconciled) return 'offers come when Mesos has answered which tasks run';
  if (mesos.isSuppressed && wantedWork(state, now).size === 0) {
    return 'offers are suppressed, because nothing is wanted of any agent now';
  }
  return `the agent is away, drained or deactivated, all it has is in use, or the quota of role "${state.options.role}" is used up`;
}

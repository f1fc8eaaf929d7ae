/**
 * Is everything well? If not: what, and what happens next by itself or by an operator's hand. Never a colour
 * without a reason.
 */
import { formatDisk, formatNode } from '../../shared/base/ids.ts';
import { formatDuration } from '../../shared/base/units.ts';
import type { Health, HealthReason, PgCounts } from '../../shared/model/api-views.ts';
import { comingDisks, poolCapacity } from './capacity.ts';
import { isNodeMapped } from './map.ts';
import { memberCount } from './members.ts';
import { isCertainlyNotServing, isNodeUp } from './node-life.ts';
import { addCounts, countFamily, servingSet } from './pg-state.ts';
import type { NodeRecord, PoolRecord } from './records.ts';
import { describeNode, silenceMs } from './sessions.ts';
import type { Now, State } from './state.ts';

export interface HealthReport {
  readonly health: Health;
  readonly reasons: readonly HealthReason[];
}

interface Finding extends HealthReason {
  readonly health: Exclude<Health, 'ok'>;
}

export function clusterHealth(state: State, now: Now): HealthReport {
  const serving = servingSet(state);
  const findings: Finding[] = [...judgeMesos(state)];
  for (const pool of state.facts.pools.values()) {
    const families = [...state.facts.families.values()].filter((each) => each.pool === pool.name);
    const counts = addCounts(families.map((family) => countFamily(state, family, serving)));
    findings.push(...judgePgs(state, pool, counts), ...judgeRoom(state, pool));
  }
  for (const node of state.facts.nodes.values()) findings.push(...judgeNode(state, node, now));
  for (const disk of state.facts.disks.values()) {
    if (disk.phase !== 'failed') continue;
    findings.push({
      health: 'degraded',
      subject: formatDisk(disk.id),
      message: `${formatDisk(disk.id)} on ${formatNode(disk.node)} was taken out: ${disk.error}`,
      next: 'Its replicas are rebuilt on other disks; replace the device, then drain or activate the disk',
    });
  }
  return report(findings);
}

/** Of one volume: its PGs and what its gateway says. */
export function volumeHealth(
  counts: PgCounts,
  gateway: { readonly isPaused: boolean; readonly reason: string },
): HealthReport {
  const findings: Finding[] = [];
  if (gateway.isPaused) {
    findings.push({
      health: 'critical',
      subject: 'gateway',
      message: `Its gateway waits: ${gateway.reason}`,
      next: 'Requests are queued and go on when it does',
    });
  }
  if (counts.unavailable > 0) {
    findings.push({
      health: 'critical',
      subject: 'placement groups',
      message: `${counts.unavailable} of its ${counts.total} PGs have too few replicas to serve`,
      next: 'I/O there waits until their disks are back',
    });
  }
  if (counts.degraded > 0) {
    findings.push({
      health: 'degraded',
      subject: 'placement groups',
      message: `${counts.degraded} of its ${counts.total} PGs lack a replica`,
      next: 'They are rebuilt from the replicas that are left',
    });
  }
  return report(findings);
}

/** For views: state and reason of a node in one word and one sentence. */
export function nodeState(
  state: State,
  node: NodeRecord,
  now: Now,
): { readonly word: NodeWord; readonly reason: string } {
  if (node.admin === 'gone') return { word: 'gone', reason: 'Forgotten by an operator' };
  const observed = state.nodes.get(node.id);
  if (!isNodeMapped(node)) {
    return {
      word: 'starting',
      reason: 'Its disks are claimed; its executor has not been heard yet',
    };
  }
  if (isNodeUp(state, node)) {
    if (node.admin === 'active') return { word: 'up', reason: '' };
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

function drainReason(state: State, node: NodeRecord): string {
  const disks = [...state.facts.disks.values()].filter((disk) => disk.node === node.id);
  const left = disks.reduce((sum, disk) => sum + memberCount(state, disk.id), 0);
  // Where there is no room for all copies the drain waits, and the plan says why.
  const obstacles = disks.flatMap((disk) => state.work.explanations.get(disk.pool) ?? []);
  const waits = obstacles[0] === undefined ? '' : `; ${obstacles[0]}`;
  return `${left} replicas are still to move to other nodes${waits}`;
}

type NodeWord = 'starting' | 'up' | 'down' | 'fenced' | 'draining' | 'drained' | 'gone';

function judgeMesos(state: State): Finding[] {
  if (state.mesos.isSubscribed) return [];
  return [
    {
      health: 'degraded',
      subject: 'mesos',
      message: `Not subscribed at the Mesos master: ${state.mesos.disconnectReason}`,
      next: 'I/O goes on; disks are claimed and tasks restarted again after the next subscription',
    },
  ];
}

function judgePgs(state: State, pool: PoolRecord, counts: PgCounts): Finding[] {
  const findings: Finding[] = [];
  const subject = pool.name;
  if (counts.unavailable > 0) {
    findings.push({
      health: 'critical',
      subject,
      message: `${counts.unavailable} of ${counts.total} PGs of pool "${pool.name}" have too few replicas to serve`,
      next: 'I/O there waits until one of the disks that are out of reach is back',
    });
  }
  if (counts.degraded > 0) {
    const explained = state.work.explanations.get(pool.name) ?? [];
    findings.push({
      health: 'degraded',
      subject,
      message: `${counts.degraded} of ${counts.total} PGs of pool "${pool.name}" lack a replica`,
      next: explained[0] ?? 'They are rebuilt from the replicas that are left',
    });
  }
  return findings;
}

function judgeRoom(state: State, pool: PoolRecord): Finding[] {
  if (pool.isFull) {
    return [
      {
        health: 'critical',
        subject: pool.name,
        message: `Pool "${pool.name}" is full: writes that need new space get ENOSPC`,
        next: expansionOutlook(state, pool),
      },
    ];
  }
  const { usedRatio } = poolCapacity(state, pool);
  if (usedRatio < pool.expandAtRatio) return [];
  return [
    {
      health: 'degraded',
      subject: pool.name,
      message: `Pool "${pool.name}" is ${(usedRatio * 100).toFixed(0)} % used`,
      next: expansionOutlook(state, pool),
    },
  ];
}

function expansionOutlook(state: State, pool: PoolRecord): string {
  const wish = state.expansion.get(pool.name);
  const coming = comingDisks(state, pool.name).length;
  if (coming > 0) return `${coming} more disks are claimed and will serve soon`;
  if (wish !== undefined)
    return `It is being expanded by ${wish.diskCount} disks as Mesos offers them`;
  if (!pool.isAutoExpand) return 'Add disks or delete data: automatic expansion is switched off';
  if (pool.diskCountMax !== null)
    return `It may have at most ${pool.diskCountMax} disks: raise that or delete data`;
  return 'It is expanded after the cool-down of the last expansion';
}

function judgeNode(state: State, node: NodeRecord, now: Now): Finding[] {
  const { word, reason } = nodeState(state, node, now);
  if (word !== 'down' && word !== 'fenced') return [];
  const away = state.nodes.get(node.id)?.awaySinceMs ?? now.ms;
  const leftMs = Math.max(0, state.options.rebuildAfterMs - (now.ms - away));
  const next =
    leftMs > 0
      ? `Its replicas are rebuilt on other nodes in ${formatDuration(leftMs)} unless it comes back`
      : 'Its replicas are rebuilt on other nodes; forget the node if it never comes back';
  const message = `${describeNode(node)} is ${word}: ${reason}`;
  return [{ health: 'degraded', subject: formatNode(node.id), message, next }];
}

function report(findings: readonly Finding[]): HealthReport {
  const isCritical = findings.some((finding) => finding.health === 'critical');
  const worst: Health = isCritical ? 'critical' : findings.length > 0 ? 'degraded' : 'ok';
  // The worst first, else in the order found.
  const ordered = [
    ...findings.filter((finding) => finding.health === 'critical'),
    ...findings.filter((finding) => finding.health === 'degraded'),
  ];
  return {
    health: worst,
    reasons: ordered.map(({ subject, message, next }) => ({ subject, message, next })),
  };
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

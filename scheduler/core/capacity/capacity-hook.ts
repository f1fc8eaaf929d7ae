/**
 * The last way to more room: an operator's hook that attaches disks (DESIGN 10). It is asked when a pool has
 * wished for disks for a while, Mesos offered none that fits, and no disk can grow.
 *
 *   idle ──asked──▶ asked ──promised──▶ promised ──cool-down──▶ idle
 *                     └──refused, failed, no answer──▶ waiting ──back-off, same key──▶ asked
 *
 * The request is a fact before it leaves, so it is sent again under the same key by whoever leads next. How
 * many disks may be asked for in a day is bounded, whatever happens. What comes of it is seen in offers, as for
 * any other disk.
 */
import { formatNode } from '../../../shared/base/ids.ts';
import { formatBytes, formatDuration } from '../../../shared/base/units.ts';
import {
  CANDIDATES_MAX,
  type CapacityCandidate,
  type CapacityOutcome,
  type CapacityRequest,
} from '../../../shared/model/capacity-hook.ts';
import type { Effect } from '../contract.ts';
import { recordEvent } from '../events.ts';
import type { HookRecord, PoolRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { capacityOf, countedDisks, sayOnce } from './capacity.ts';
import { findGrowing, growableBytes } from './growth.ts';

/** Offers of own and new nodes, and growth, come first; a claim takes a few seconds to show. */
export const HOOK_AFTER_MS = 60_000;
const BACKOFF_MS_MIN = 30_000;
const BACKOFF_MS_MAX = 3_600_000;
const DAY_MS = 86_400_000;
/** Beyond the hook's own deadline: then its answer is lost, or its manager was another one. */
const ANSWER_MARGIN_MS = 15_000;

/** Every tick: asks the hook where it is time. */
export function superviseHook(state: State, now: Now): Effect[] {
  const { capacityHook } = state.options;
  if (capacityHook === undefined || capacityHook === null) return [];
  const effects: Effect[] = [];
  for (const pool of state.facts.pools.values()) {
    const request = superviseOf(state, pool, now);
    if (request !== null) effects.push({ kind: 'capacity-hook', request });
  }
  return effects;
}

/** What the hook said, or what became of asking it. */
export function onCapacityAnswer(
  state: State,
  answer: { readonly key: string; readonly outcome: CapacityOutcome },
  now: Now,
): void {
  for (const pool of state.facts.pools.values()) {
    if (pool.hook?.key !== answer.key || pool.hook.state !== 'asked') continue;
    takeOutcome(state, pool, pool.hook, answer.outcome, now);
    return;
  }
}

/** Disks that may still be asked for today. */
export function leftToday(state: State, pool: PoolRecord, now: Now): number {
  const most = state.options.capacityHook?.disksPerDay ?? 0;
  return Math.max(0, most - disksToday(pool.hook, now));
}

function disksToday(hook: HookRecord | null | undefined, now: Now): number {
  const { dayStartedAtMs = 0, disksToday: count = 0 } = hook ?? {};
  return now.wallMs - dayStartedAtMs < DAY_MS ? count : 0;
}

function superviseOf(state: State, pool: PoolRecord, now: Now): CapacityRequest | null {
  const hook = pool.hook ?? null;
  const wish = state.expansion.get(pool.name);
  const sinceMs = state.mesos.wishSinceMs.get(pool.name);
  const isWanted = wish !== undefined && wish.diskCount > 0 && pool.isAutoExpand;
  if (hook !== null && hook.state === 'asked') {
    const deadlineMs = (state.options.capacityHook?.deadlineMs ?? 0) + ANSWER_MARGIN_MS;
    if (now.wallMs - hook.askedAtMs < deadlineMs) return null;
    const message = `it did not answer within ${formatDuration(deadlineMs)}`;
    takeOutcome(state, pool, hook, { kind: 'failed', message }, now);
    return null;
  }
  if (!isWanted || sinceMs === undefined) {
    if (hook?.state === 'waiting') putHook(state, pool, { ...hook, state: 'idle' });
    return null;
  }
  if (now.ms - sinceMs < HOOK_AFTER_MS || findGrowing(state) !== null) return null;
  // A disk that can grow is stopped when it may be: that costs nothing.
  if (hook !== null && hook.state !== 'idle' && now.wallMs < hook.nextAtMs) return null;
  if (growableBytes(state, pool, now) > 0) return null;
  if (hook !== null && hook.state === 'waiting') return ask(state, pool, hook, wish.reason, now);
  return askAnew(state, pool, wish, now);
}

function askAnew(
  state: State,
  pool: PoolRecord,
  wish: { readonly diskCount: number; readonly reason: string },
  now: Now,
): CapacityRequest | null {
  const count = Math.min(wish.diskCount, leftToday(state, pool, now));
  if (count === 0) {
    const message = `The capacity hook is not asked for more disks of pool "${pool.name}" today: it was asked for ${disksToday(pool.hook, now)} within a day, which is the limit`;
    sayOnce(state, pool, 'capacity.hook-bound', message, now);
    return null;
  }
  const isNewDay = now.wallMs - (pool.hook?.dayStartedAtMs ?? 0) >= DAY_MS;
  const { clusterId } = state.facts.cluster;
  return ask(
    state,
    pool,
    {
      key: `${clusterId.slice(0, 8)}-${pool.name}-${now.wallMs}`,
      state: 'asked',
      count,
      attempts: 0,
      askedAtMs: now.wallMs,
      nextAtMs: 0,
      message: '',
      dayStartedAtMs: isNewDay ? now.wallMs : (pool.hook?.dayStartedAtMs ?? now.wallMs),
      disksToday: disksToday(pool.hook, now) + count,
    },
    wish.reason,
    now,
  );
}

function ask(
  state: State,
  pool: PoolRecord,
  hook: HookRecord,
  reason: string,
  now: Now,
): CapacityRequest {
  const attempts = hook.attempts + 1;
  putHook(state, pool, { ...hook, state: 'asked', attempts, askedAtMs: now.wallMs });
  const disks = countedDisks(state, pool.name);
  const { rawBytes } = capacityOf(state, pool, disks, 0);
  const diskBytes = disks.length === 0 ? 0 : Math.round(rawBytes / disks.length);
  const isDryRun = state.options.capacityHook?.isDryRun === true;
  const message = `The capacity hook is asked for ${hook.count} disks of ${formatBytes(diskBytes)} for pool "${pool.name}"${isDryRun ? ', as a dry run' : ''} (key "${hook.key}", attempt ${attempts}): ${reason}`;
  say(state, pool, 'info', 'capacity.asked', message, now);
  return {
    format: 1,
    key: hook.key,
    attempt: attempts,
    isDryRun,
    cluster: state.options.clusterName,
    clusterId: state.facts.cluster.clusterId,
    pool: pool.name,
    tier: pool.selector?.tiers?.[0] ?? pool.tier,
    count: hook.count,
    diskBytes,
    bytes: hook.count * diskBytes,
    reason,
    nodes: candidates(state, pool),
  };
}

/** Nodes that stay, those with least of the pool first: new disks there even it out. */
function candidates(state: State, pool: PoolRecord): CapacityCandidate[] {
  const found: CapacityCandidate[] = [];
  for (const node of state.facts.nodes.values()) {
    if (node.admin !== 'active' || node.isFenced || node.unavailableFromMs !== null) continue;
    let poolBytes = 0;
    for (const id of state.facts.diskIndex.ofNode(node.id)) {
      const disk = state.facts.disks.get(id);
      if (disk.pool === pool.name && disk.phase !== 'lost') poolBytes += disk.sizeBytes;
    }
    const { hostname, agentId, zone, region, attributes } = node;
    const where = { hostname, agentId, zone, region, attributes };
    found.push({ node: formatNode(node.id), ...where, poolBytes });
  }
  return found.sort((a, b) => a.poolBytes - b.poolBytes).slice(0, CANDIDATES_MAX);
}

function takeOutcome(
  state: State,
  pool: PoolRecord,
  hook: HookRecord,
  outcome: CapacityOutcome,
  now: Now,
): void {
  const { message } = outcome;
  if (outcome.kind === 'promised') {
    const cooldownMs = state.options.capacityHook?.cooldownMs ?? 0;
    const nextAtMs = now.wallMs + cooldownMs;
    // What was not promised was not taken from the day's bound.
    const back = Math.max(0, hook.disksToday - (hook.count - outcome.count));
    putHook(state, pool, { ...hook, state: 'promised', nextAtMs, message, disksToday: back });
    const said = message === '' ? '' : `: ${message}`;
    const text = `The capacity hook promised ${outcome.count} of ${hook.count} disks for pool "${pool.name}" (key "${hook.key}")${said}; it is asked again no sooner than in ${formatDuration(cooldownMs)}`;
    say(state, pool, 'info', 'capacity.promised', text, now);
    return;
  }
  const delayMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(20, hook.attempts - 1));
  const nextAtMs = now.wallMs + delayMs;
  putHook(state, pool, { ...hook, state: 'waiting', nextAtMs, message });
  const what = outcome.kind === 'refused' ? 'refused to attach' : 'failed to attach';
  const text = `The capacity hook ${what} ${hook.count} disks for pool "${pool.name}" (key "${hook.key}", attempt ${hook.attempts}): ${message}; it is asked again in ${formatDuration(delayMs)}`;
  say(state, pool, outcome.kind === 'refused' ? 'warning' : 'error', 'capacity.failed', text, now);
}

function putHook(state: State, pool: PoolRecord, hook: HookRecord): void {
  state.facts.pools.update(pool.name, { hook });
}

function say(
  state: State,
  pool: PoolRecord,
  severity: 'info' | 'warning' | 'error',
  kind: string,
  message: string,
  now: Now,
): void {
  recordEvent(state, { severity, kind, message, subject: pool.name }, now);
}

/**
 * Answers offers: every one at once, in the step in which it arrives, with one ACCEPT per agent or a
 * DECLINE. Nothing is held back, so there is nothing to forget when an offer is rescinded or the
 * subscription ends. What one agent offers is judged in this order: give back, bring up, claim.
 *
 * Also decides when offers are wanted at all (SUPPRESS and REVIVE).
 */
import { formatDisk, formatNode, parseNode } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import type { Id } from '../../../shared/mesos/messages.ts';
import type { Accept, Offer } from '../../../shared/mesos/scheduler-messages.ts';
import type { Effect } from '../contract.ts';
import { isUnreplaced } from '../planned/disk-replace.ts';
import { isAvoided } from '../planned/maintenance.ts';
import { isUninstalling } from '../planned/uninstall.ts';
import type { PassReason } from '../pools/pass-reason.ts';
import type { DiskRecord, NodeRecord, PoolRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { findLostStore, noteStrangers } from './lost-store.ts';
import { observedHost, observedTask } from './mesos-state.ts';
import { claimDisks } from './offer-claims.ts';
import {
  bringUp,
  executorPresence,
  isInWindow,
  type LaunchOutcome,
  type Site,
} from './offer-launch.ts';
import { OfferLook } from './offer-look.ts';
import { identify, refreshNode } from './offer-nodes.ts';
import { createPlan, isEmpty, operationsOf } from './offer-plan.ts';
import { isExecutorIdle, releaseDisk, releaseExecutor } from './offer-release.ts';
import { OfferLedger } from './offer-resources.ts';
import { giveEverythingBack } from './offer-uninstall.ts';
import { baselineWish, disksPerNode, expansionWish } from './offer-wishes.ts';
import { callMesos } from './tasks.ts';

/** Everything is looked at until nothing is left, and nobody else is kept waiting for long. */
const REFUSE_LAST_S = 2;
/** Wanted soon: something is on its way, or waits for a moment. */
const REFUSE_SOON_S = 5;
/** Offers are wanted, but nothing of this agent: others may have it (MESOS 5.3: 120 s in the field). */
const REFUSE_OTHER_S = 120;
/** Nothing is wanted from anybody. REVIVE clears it as soon as that changes. */
const REFUSE_IDLE_S = 3600;
/** A node that goes into maintenance within this takes no new disks: filling them would be in vain. */
const CLAIM_WINDOW_AHEAD_MS = 600_000;
const LOOK_AROUND_MS = 30_000;

export function onOffers(state: State, offers: readonly Offer[], now: Now): Effect[] {
  const effects: Effect[] = [];
  const wanted = wantedWork(state, now);
  noteStrangers(state, offers, now);
  for (const group of groupByAgent(state, offers)) {
    const [first] = group;
    if (first !== undefined) effects.push(...answerAgent(state, first, group, wanted, now));
  }
  return effects;
}

/** Offers of one agent are answered together. Own nodes first, those with fewer disks before others. */
function groupByAgent(state: State, offers: readonly Offer[]): readonly (readonly Offer[])[] {
  const groups = new Map<string, Offer[]>();
  for (const offer of offers) {
    const group = groups.get(offer.agent_id.value);
    if (group === undefined) groups.set(offer.agent_id.value, [offer]);
    else group.push(offer);
  }
  const disks = new Map<string, number>();
  for (const disk of state.facts.disks.values()) {
    const agent = state.facts.nodes.find(disk.node)?.agentId ?? '';
    disks.set(agent, (disks.get(agent) ?? 0) + 1);
  }
  const rank = (agent: string): number => disks.get(agent) ?? Number.MAX_SAFE_INTEGER;
  return [...groups.entries()].sort(([a], [b]) => rank(a) - rank(b)).map(([, group]) => group);
}

function answerAgent(
  state: State,
  offer: Offer,
  group: readonly Offer[],
  wanted: ReadonlySet<string>,
  now: Now,
): Effect[] {
  const offerIds = group.map(({ id }) => id);
  const resources = group.flatMap((one) => one.resources ?? []);
  const whole: Offer = { ...offer, resources };
  const ledger = new OfferLedger(state, resources);
  const look = new OfferLook(whole, ledger);
  if (!state.mesos.isReconciled) {
    look.refuse(agentReason('not-reconciled', 'Mesos has not answered yet which tasks run'));
    look.keep(state, null, 'declined', now);
    return [decline(offerIds, REFUSE_SOON_S)];
  }
  if (isUninstalling(state)) return answerUninstall(state, { whole, offerIds, ledger, look }, now);
  if (findLostStore(state) !== null) {
    const text = 'disks of a cluster that the metadata store does not know are offered';
    look.refuse(agentReason('lost-store', text));
    look.keep(state, null, 'declined', now);
    return [decline(offerIds, REFUSE_OTHER_S)];
  }
  const identity = identify(state, whole, ledger, now);
  if (identity.kind === 'strange') {
    look.refuse(agentReason('strange-labels', 'its reservation labels contradict the store'));
    look.keep(state, null, 'declined', now);
    return [decline(offerIds, REFUSE_OTHER_S)];
  }
  const known = identity.kind === 'known' ? refreshNode(state, identity.node, whole, now) : null;
  const plan = createPlan();
  const outcomes: LaunchOutcome[] = [];
  const effects: Effect[] = [];
  const isClean = noteOurs(state, known, whole, ledger, now);
  if (known !== null) {
    const host = observedHost(state.mesos, known.id);
    host.lastOfferAtMs = now.ms;
    if (isClean) host.cleanOfferAtMs = now.ms;
    outcomes.push(...tendDisks(state, { node: known, offer: whole, ledger, plan }, now));
    effects.push(...shutOldExecutors(known, whole));
  }
  outcomes.push(...claim(state, { known, offer: whole, ledger, plan, look }, now));
  if (known !== null) releaseExecutor(state, { node: known, offer: whole, ledger, plan });
  look.keep(
    state,
    known ?? nodeOfAgent(state, whole),
    isEmpty(plan) ? 'declined' : 'accepted',
    now,
  );
  const isSoon = outcomes.some((outcome) => outcome === 'wait') || isExpanding(state, now);
  if (isEmpty(plan)) {
    const seconds = isSoon ? REFUSE_SOON_S : wanted.size > 0 ? REFUSE_OTHER_S : REFUSE_IDLE_S;
    return [...effects, decline(offerIds, seconds)];
  }
  const accept: Accept = {
    offer_ids: offerIds,
    operations: operationsOf(plan),
    filters: { refuse_seconds: isSoon ? REFUSE_SOON_S : REFUSE_OTHER_S },
  };
  return [...effects, callMesos({ type: 'ACCEPT', accept })];
}

interface LastOffer {
  readonly whole: Offer;
  readonly offerIds: readonly Id[];
  readonly ledger: OfferLedger;
  readonly look: OfferLook;
}

/** Everything of ours goes back, nothing new is begun. */
function answerUninstall(
  state: State,
  { whole, offerIds, ledger, look }: LastOffer,
  now: Now,
): Effect[] {
  // For its warnings: volumes that no record names hold the uninstall up.
  identify(state, whole, ledger, now);
  const node = nodeOfOffer(state, whole, ledger);
  const isClean = noteOurs(state, node, whole, ledger, now);
  if (node !== null) {
    const host = observedHost(state.mesos, node.id);
    host.lastOfferAtMs = now.ms;
    if (isClean) host.cleanOfferAtMs = now.ms;
  }
  const plan = createPlan();
  giveEverythingBack(state, { node, offer: whole, ledger, plan }, now);
  look.refuse(agentReason('node-not-active', 'the cluster is being uninstalled'));
  look.keep(state, node, isEmpty(plan) ? 'declined' : 'accepted', now);
  if (isEmpty(plan)) return [decline(offerIds, REFUSE_LAST_S)];
  const filters = { refuse_seconds: REFUSE_LAST_S };
  const accept: Accept = { offer_ids: offerIds, operations: operationsOf(plan), filters };
  return [callMesos({ type: 'ACCEPT', accept })];
}

/** By its labels, else by its agent; labels that no record knows are ours all the same. */
function nodeOfOffer(state: State, offer: Offer, ledger: OfferLedger): NodeRecord | null {
  for (const { owner } of ledger.entries) {
    const id = owner.kind === 'ours' ? parseNode(owner.node) : null;
    const node = id === null ? undefined : state.facts.nodes.find(id);
    if (node !== undefined) return node;
  }
  return nodeOfAgent(state, offer);
}

/** Whether the offer shows neither our labels nor an executor of ours. */
function noteOurs(
  state: State,
  known: NodeRecord | null,
  offer: Offer,
  ledger: OfferLedger,
  now: Now,
): boolean {
  const isOurs = ledger.entries.some(({ owner }) => owner.kind === 'ours');
  if (isOurs) state.mesos.oursSeenAtMs = now.ms;
  const executors = offer.executor_ids ?? [];
  return !isOurs && !executors.some(({ value }) => value === known?.executorId);
}

function decline(offer_ids: readonly Id[], seconds: number): Effect {
  const filters = { refuse_seconds: seconds };
  return callMesos({ type: 'DECLINE', decline: { offer_ids, filters } });
}

/** Gives back what is released, brings up what should run; of a node that was given up only the first. */
function tendDisks(state: State, site: Site, now: Now): LaunchOutcome[] {
  const outcomes: LaunchOutcome[] = [];
  for (const disk of disksOf(state, site.node)) {
    if (disk.phase === 'releasing') releaseDisk(state, site, disk, now);
    else if (site.node.admin !== 'gone') outcomes.push(bringUp(state, site, disk, now));
  }
  return outcomes;
}

function disksOf(state: State, node: NodeRecord): DiskRecord[] {
  return [...state.facts.disks.values()].filter((disk) => disk.node === node.id);
}

interface ClaimQuestion {
  readonly known: NodeRecord | null;
  readonly offer: Offer;
  readonly ledger: OfferLedger;
  readonly plan: Site['plan'];
  readonly look: OfferLook;
}

function claim(state: State, question: ClaimQuestion, now: Now): LaunchOutcome[] {
  const { known, offer, ledger, plan, look } = question;
  const obstacle = claimObstacle(state, question, now);
  if (obstacle !== null) {
    look.refuse(obstacle.reason);
    return obstacle.isShort ? ['wait'] : [];
  }
  const presence = known === null ? 'none' : executorPresence(state, { node: known, offer, plan });
  if (presence === 'doubt') {
    look.refuse(agentReason('executor-in-doubt', 'Mesos is asked whether its executor runs'));
    return ['wait'];
  }
  const isExecutorRunning = presence === 'there';
  const claimed = claimDisks(state, { node: known, offer, ledger, isExecutorRunning, look }, now);
  if (claimed === null) return [];
  const { node } = claimed;
  return claimed.disks.map((disk) => bringUp(state, { node, offer, ledger, plan }, disk, now));
}

/** Why nothing is claimed of this agent now, whatever it offers; `isShort`: its next offer should come soon. */
function claimObstacle(
  state: State,
  { known, offer }: ClaimQuestion,
  now: Now,
): { readonly reason: PassReason; readonly isShort: boolean } | null {
  if (known !== null && known.admin !== 'active') {
    const text = `${formatNode(known.id)} is ${known.admin}`;
    return { reason: agentReason('node-not-active', text), isShort: false };
  }
  if (isOfferInWindow(state, offer, known, now)) {
    const text = 'its maintenance is under way or begins soon';
    return { reason: agentReason('maintenance', text), isShort: false };
  }
  const retryAtMs = known === null ? now.ms : observedHost(state.mesos, known.id).retryAtMs;
  if (retryAtMs > now.ms) {
    const text = `tasks failed there; it is tried again in ${formatDuration(retryAtMs - now.ms)}`;
    return { reason: agentReason('cool-down', text), isShort: true };
  }
  return null;
}

function agentReason(kind: PassReason['kind'], message: string): PassReason {
  return { kind, pool: null, message };
}

/** The record that a claim of this very step made. */
function nodeOfAgent(state: State, offer: Offer): NodeRecord | null {
  for (const node of state.facts.nodes.values()) {
    if (node.agentId === offer.agent_id.value) return node;
  }
  return null;
}

/** For an agent without a record the window stands in the offer alone. */
function isOfferInWindow(state: State, offer: Offer, known: NodeRecord | null, now: Now): boolean {
  if (known !== null) {
    return isAvoided(state, known.id) || isInWindow(known, now, CLAIM_WINDOW_AHEAD_MS);
  }
  const start = offer.unavailability?.start.nanoseconds;
  return start !== undefined && Number(start) / 1e6 <= now.wallMs + CLAIM_WINDOW_AHEAD_MS;
}

/** An executor of another version that holds no task any more, left over from an upgrade. */
function shutOldExecutors(node: NodeRecord, offer: Offer): Effect[] {
  const prefix = `cistern-${formatNode(node.id)}-`;
  return (offer.executor_ids ?? [])
    .filter(({ value }) => value.startsWith(prefix) && value !== node.executorId)
    .map((executor_id) =>
      callMesos({ type: 'SHUTDOWN', shutdown: { executor_id, agent_id: offer.agent_id } }),
    );
}

/** A pool began to look for disks: for a while offers come often, so that own nodes go first. */
function isExpanding(state: State, now: Now): boolean {
  for (const [pool, wish] of state.expansion) {
    const sinceMs = state.mesos.wishSinceMs.get(pool) ?? now.ms;
    if (wish.diskCount > 0 && now.ms - sinceMs < LOOK_AROUND_MS) return true;
  }
  return false;
}

// ── When offers are wanted ───────────────────────────────────────────────────────────────────

/**
 * What offers are wanted for, by name. Empty: SUPPRESS. Names that start with `wait:` only keep offers
 * flowing; a new one of any other kind is worth a REVIVE, and those besides `claim:` further ones.
 */
export function wantedWork(state: State, now: Now): ReadonlySet<string> {
  const wanted = new Set<string>();
  for (const disk of state.facts.disks.values()) addDiskWork(state, disk, wanted, now);
  for (const pool of state.facts.pools.values()) {
    const counts = disksPerNode(state, pool);
    let isWanting = baselineWish(pool, counts, null) > 0;
    for (const node of counts.keys()) isWanting ||= baselineWish(pool, counts, node) > 0;
    if (isWanting) wanted.add(claimName(pool));
    if (expansionWish(state, pool, counts) > 0) wanted.add(`expand:${pool.name}`);
  }
  for (const node of state.facts.nodes.values()) {
    const host = state.mesos.hosts.get(node.id);
    if (host?.isExecutorReserved !== true) continue;
    if (isExecutorIdle(state, node)) wanted.add(`executor:${formatNode(node.id)}`);
  }
  for (const node of state.facts.nodes.values()) addNodeWork(state, node, wanted);
  if (isUninstalling(state)) wanted.add(state.work.bareSinceMs === null ? 'give-back' : 'verify');
  return wanted;
}

/** What only an offer can show: that nothing is left there, or that a maintenance window is another one. */
function addNodeWork(state: State, node: NodeRecord, wanted: Set<string>): void {
  if (node.admin === 'gone') return;
  const name = formatNode(node.id);
  if (state.work.emptySinceMs.has(node.id)) wanted.add(`verify:${name}`);
  if (node.unavailableFromMs !== null) wanted.add(`wait:window:${name}`);
}

/** Most pools claim whatever appears, for ever; other bounds are news, and offers were declined for long. */
function claimName(pool: PoolRecord): string {
  const bounds = `${pool.claimPerNode ?? 'all'}:${pool.claimNodes ?? 'all'}`;
  return `claim:${pool.name}:${bounds}:${JSON.stringify(pool.selector ?? null)}`;
}

function addDiskWork(state: State, disk: DiskRecord, wanted: Set<string>, now: Now): void {
  const name = formatDisk(disk.id);
  if (isUnreplaced(disk)) wanted.add(`replace:${name}`);
  if (disk.phase === 'lost' || disk.phase === 'failed') return;
  const task = observedTask(state.mesos, disk);
  if (task === null || task.life === 'dead') {
    if (disk.phase === 'releasing') {
      wanted.add(`release:${name}`);
      return;
    }
    const isDue = observedHost(state.mesos, disk.node).retryAtMs <= now.ms;
    wanted.add(isDue ? `launch:${name}` : `wait:launch:${name}`);
  } else if (task.life === 'away') {
    // It may come back under another agent id, and then shows itself only in an offer.
    wanted.add(`wait:return:${name}`);
  }
}

/** MESOS 8.2: each REVIVE is a pass over the whole cluster for the master. */
const REVIVE_EVERY_MS = 5_000;
const REVIVE_AGAIN_MS_MIN = 30_000;
const REVIVE_AGAIN_MS_MAX = 600_000;
/** Work often comes in a row: offers stay on for a moment after the last of it. */
const SUPPRESS_AFTER_MS = 5_000;

/** Every tick: REVIVE when there is new work for offers, SUPPRESS when there has been none for a while. */
export function steerOffers(state: State, now: Now): Effect[] {
  const { mesos } = state;
  noteWishes(state, now);
  const wanted = wantedWork(state, now);
  const roles = [state.options.role];
  // What ended and is wanted again is new, also when both happen between two REVIVEs.
  mesos.revivedFor = new Set([...mesos.revivedFor].filter((name) => wanted.has(name)));
  if (wanted.size === 0) {
    mesos.idleSinceMs ??= now.ms;
    if (mesos.isSuppressed || now.ms - mesos.idleSinceMs < SUPPRESS_AFTER_MS) return [];
    mesos.isSuppressed = true;
    mesos.revivedFor = new Set();
    return [callMesos({ type: 'SUPPRESS', suppress: { roles } })];
  }
  mesos.idleSinceMs = null;
  if (now.ms - mesos.lastReviveMs < REVIVE_EVERY_MS) return [];
  const worthy = [...wanted].filter((name) => !name.startsWith('wait:'));
  const urgent = worthy.filter((name) => !name.startsWith('claim:'));
  const isNew = mesos.isSuppressed || worthy.some((name) => !mesos.revivedFor.has(name));
  const isDue = urgent.length > 0 && now.ms - mesos.lastReviveMs >= mesos.reviveDelayMs;
  if (!isNew && !isDue) return [];
  mesos.reviveDelayMs = isNew
    ? REVIVE_AGAIN_MS_MIN
    : Math.min(REVIVE_AGAIN_MS_MAX, mesos.reviveDelayMs * 2);
  mesos.revivedFor = new Set(worthy);
  mesos.lastReviveMs = now.ms;
  mesos.isSuppressed = false;
  return [callMesos({ type: 'REVIVE', revive: { roles } })];
}

/** Since when each pool has wished for an expansion without a pause. */
function noteWishes(state: State, now: Now): void {
  const { wishSinceMs } = state.mesos;
  for (const [pool, wish] of state.expansion) {
    if (wish.diskCount > 0 && !wishSinceMs.has(pool)) wishSinceMs.set(pool, now.ms);
  }
  for (const pool of wishSinceMs.keys()) {
    if ((state.expansion.get(pool)?.diskCount ?? 0) === 0) wishSinceMs.delete(pool);
  }
}

/**
 * From what operators say of pools to records, completely checked: whatever comes in, out comes a pool that
 * makes sense, or an error that names the field. Nothing here changes facts.
 */
import { invalidField, StorageError } from '../../../shared/base/errors.ts';
import { REPLICAS_MAX } from '../../../shared/base/units.ts';
import {
  ANY_DISK,
  DISK_KINDS,
  DISK_TIERS,
  type PoolSelector,
} from '../../../shared/model/pool-selector.ts';
import type { NewPool, PoolDocument, PoolSettings } from '../../../shared/model/pool-settings.ts';
import type { ManagerOptions } from '../contract.ts';
import type { PoolRecord } from '../records.ts';
import { selectorOf } from './selection.ts';

const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,31}$/;
const NAME_RULE = '1 to 32 of a-z 0-9 -, beginning with a letter or digit';
/** Longest cool-down: a week; a longer one is a switched-off expansion. */
const COOLDOWN_MS_MAX = 7 * 24 * 3600 * 1000;
const COUNT_MAX = 1_000_000;
const PG_COUNT_MAX = 1 << 17;
/** A pool is a policy, not a tenant: each has placement groups of its own on every disk. */
export const POOLS_MAX = 64;
const PATTERNS_MAX = 64;
const PATTERN_LENGTH_MAX = 256;
const PRIORITY_MAX = 1000;
/** New pools come before the default one, which takes what nobody else selects. */
const PRIORITY_DEFAULT = 100;
const DEFAULT_REPLICAS = 2;

/** A new pool's record; `isTaken`: whether another has the name. */
export function newPool(
  given: NewPool,
  options: ManagerOptions,
  isTaken: (name: string) => boolean,
): PoolRecord | StorageError {
  const { name, pgCount = options.defaultPgCount, ...settings } = given;
  if (typeof name !== 'string' || !NAME_PATTERN.test(name)) {
    return invalidField('name', name, NAME_RULE);
  }
  if (isTaken(name)) {
    return new StorageError('already-exists', `Pool "${name}" exists already`, { name });
  }
  const isPower = Number.isInteger(pgCount) && pgCount >= 1 && (pgCount & (pgCount - 1)) === 0;
  if (!isPower || pgCount > PG_COUNT_MAX) {
    return invalidField('pgCount', pgCount, `a power of two up to ${PG_COUNT_MAX}`);
  }
  const plain: PoolRecord = {
    name,
    tier: null,
    attributes: {},
    selector: ANY_DISK,
    priority: PRIORITY_DEFAULT,
    defaultReplicas: DEFAULT_REPLICAS,
    failureDomain: 'node',
    pgCount,
    claimPerNode: null,
    claimNodes: null,
    expandAtRatio: options.expandAtRatio,
    fullAtRatio: options.fullAtRatio,
    diskCountMax: null,
    expandCooldownMs: options.expandCooldownMs,
    isAutoExpand: true,
    lastExpandAtMs: 0,
    isFull: false,
  };
  return changedPool(plain, settings, options, 'whole');
}

/** The record after the change; `whole`: a selector that is given replaces the one before. */
export function changedPool(
  pool: PoolRecord,
  settings: PoolSettings,
  options: ManagerOptions,
  mode: 'whole' | 'part',
): PoolRecord | StorageError {
  const { selector: given, ...rest } = settings;
  let next: PoolRecord = { ...pool, ...rest };
  if (given !== undefined) {
    const base = mode === 'whole' ? ANY_DISK : selectorOf(pool, options);
    const selector: PoolSelector = { ...base, ...given };
    const error = checkSelector(selector);
    if (error !== null) return error;
    // The older fields say the same as far as they can: whoever still reads them is not misled.
    const [tier = null] = selector.tiers?.length === 1 ? selector.tiers : [];
    next = { ...next, selector, tier, attributes: selector.attributes };
  }
  return checkPool(next) ?? next;
}

/** Every pool as it would be with the document in force, by name; those that are to go have `isLeaving`. */
export function desiredPools(
  present: Iterable<PoolRecord>,
  document: PoolDocument,
  options: ManagerOptions,
  defaultPool: string,
): ReadonlyMap<string, PoolRecord> | StorageError {
  const before = new Map([...present].map((pool) => [pool.name, pool]));
  const after = new Map(before);
  const named = new Set<string>();
  if (!Array.isArray(document.pools) || document.pools.length > POOLS_MAX) {
    return invalidField('pools', `${document.pools.length} pools`, `at most ${POOLS_MAX}`);
  }
  for (const given of document.pools) {
    if (named.has(given.name)) return invalidField('name', given.name, 'a pool once');
    named.add(given.name);
    const pool = before.get(given.name);
    const result =
      pool === undefined ? newPool(given, options, () => false) : again(pool, given, options);
    if (result instanceof StorageError) return result;
    after.set(given.name, result);
  }
  if (document.isWhole === true) {
    for (const pool of before.values()) {
      if (named.has(pool.name) || pool.name === defaultPool) continue;
      after.set(pool.name, { ...pool, isLeaving: true });
    }
  }
  if (after.size > POOLS_MAX) {
    return invalidField('pools', `${after.size} pools`, `at most ${POOLS_MAX} in all`);
  }
  return after;
}

function again(
  pool: PoolRecord,
  given: NewPool,
  options: ManagerOptions,
): PoolRecord | StorageError {
  const { name, pgCount, ...settings } = given;
  if (pgCount !== undefined && pgCount !== pool.pgCount) {
    return invalidField('pgCount', pgCount, `${pool.pgCount}: that of pool "${name}" is for ever`);
  }
  const { isLeaving: _leaving, ...staying } = pool;
  return changedPool(staying, settings, options, 'whole');
}

export function checkPool(pool: PoolRecord): StorageError | null {
  const { expandAtRatio, fullAtRatio, expandCooldownMs, defaultReplicas, priority = 0 } = pool;
  if (!isWithin(fullAtRatio, 0.01, 0.99))
    return invalidField('fullAtRatio', fullAtRatio, '0.01 to 0.99');
  if (!isWithin(expandAtRatio, 0.01, 0.99)) {
    return invalidField('expandAtRatio', expandAtRatio, '0.01 to 0.99');
  }
  if (expandAtRatio >= fullAtRatio) {
    return invalidField('expandAtRatio', expandAtRatio, `below fullAtRatio, ${fullAtRatio}`);
  }
  if (!isWithin(expandCooldownMs, 0, COOLDOWN_MS_MAX)) {
    return invalidField('expandCooldownMs', expandCooldownMs, `0 to ${COOLDOWN_MS_MAX}`);
  }
  if (typeof pool.isAutoExpand !== 'boolean') {
    return invalidField('isAutoExpand', pool.isAutoExpand, 'true or false');
  }
  if (!Number.isInteger(defaultReplicas) || !isWithin(defaultReplicas, 1, REPLICAS_MAX)) {
    return invalidField('defaultReplicas', defaultReplicas, `1 to ${REPLICAS_MAX}`);
  }
  if (pool.failureDomain !== 'node' && pool.failureDomain !== 'zone') {
    return invalidField('failureDomain', pool.failureDomain, 'node or zone');
  }
  if (!Number.isInteger(priority) || !isWithin(priority, 0, PRIORITY_MAX)) {
    return invalidField('priority', priority, `a whole number from 0 to ${PRIORITY_MAX}`);
  }
  for (const field of ['diskCountMax', 'claimPerNode', 'claimNodes'] as const) {
    if (!isBound(pool[field])) return invalidField(field, pool[field], BOUND_RULE);
  }
  return null;
}

const BOUND_RULE = `a whole number from 0 to ${COUNT_MAX}, or null for no bound`;

function checkSelector(selector: PoolSelector): StorageError | null {
  for (const field of Object.keys(selector)) {
    if (!Object.hasOwn(ANY_DISK, field)) {
      return invalidField(`selector.${field}`, field, Object.keys(ANY_DISK).join(', '));
    }
  }
  for (const field of ['disksPerNodeMax', 'nodesMax'] as const) {
    if (!isBound(selector[field])) {
      return invalidField(`selector.${field}`, selector[field], BOUND_RULE);
    }
  }
  for (const field of ['sizeMinBytes', 'sizeMaxBytes', 'pieceBytes'] as const) {
    const value = selector[field];
    if (value !== null && !(Number.isSafeInteger(value) && value > 0)) {
      return invalidField(`selector.${field}`, value, 'a number of bytes above 0, or null');
    }
  }
  const { sizeMinBytes, sizeMaxBytes, shareRatioMax, isRootAllowed } = selector;
  if (sizeMinBytes !== null && sizeMaxBytes !== null && sizeMinBytes > sizeMaxBytes) {
    return invalidField(
      'selector.sizeMinBytes',
      sizeMinBytes,
      `up to sizeMaxBytes, ${sizeMaxBytes}`,
    );
  }
  if (shareRatioMax !== null && !isWithin(shareRatioMax, 0.01, 1)) {
    return invalidField('selector.shareRatioMax', shareRatioMax, '0.01 to 1, or null');
  }
  if (typeof isRootAllowed !== 'boolean') {
    return invalidField('selector.isRootAllowed', isRootAllowed, 'true or false');
  }
  return checkLists(selector);
}

function checkLists({ kinds, tiers, paths, attributes }: PoolSelector): StorageError | null {
  if (kinds !== null && !isListOf(kinds, (kind) => DISK_KINDS.some((known) => known === kind))) {
    return invalidField('selector.kinds', kinds, `some of ${DISK_KINDS.join(', ')}, or null`);
  }
  if (tiers !== null && !isListOf(tiers, (tier) => DISK_TIERS.some((known) => known === tier))) {
    return invalidField('selector.tiers', tiers, `some of ${DISK_TIERS.join(', ')}, or null`);
  }
  const rule = `at most ${PATTERNS_MAX} patterns of up to ${PATTERN_LENGTH_MAX} characters`;
  if (paths !== null && !isListOf(paths, isPattern)) {
    return invalidField('selector.paths', paths, `${rule}, or null`);
  }
  const isObject = typeof attributes === 'object' && attributes !== null;
  const pairs = isObject ? Object.entries(attributes) : [];
  const areFine = pairs.every(([name, value]) => isPattern(name) && isPattern(value));
  if (!isObject || !areFine || pairs.length > PATTERNS_MAX) {
    return invalidField('selector.attributes', attributes, `names with ${rule}`);
  }
  return null;
}

function isListOf(list: unknown, isFine: (item: unknown) => boolean): boolean {
  return (
    Array.isArray(list) && list.length > 0 && list.length <= PATTERNS_MAX && list.every(isFine)
  );
}

function isPattern(value: unknown): boolean {
  return typeof value === 'string' && value.length > 0 && value.length <= PATTERN_LENGTH_MAX;
}

function isBound(value: unknown): boolean {
  if (value === null) return true;
  return Number.isInteger(value) && isWithin(value, 0, COUNT_MAX);
}

function isWithin(value: unknown, low: number, high: number): boolean {
  return typeof value === 'number' && value >= low && value <= high;
}

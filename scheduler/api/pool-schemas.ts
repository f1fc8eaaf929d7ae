/** JSON schemas of pools as operators declare them. Limits that need the state are checked by the manager. */
import { DISK_KINDS, DISK_TIERS, type PoolSelector } from '../../shared/model/pool-selector.ts';
import type { JsonSchema } from './json-schema.ts';
import {
  count,
  described,
  flag,
  list,
  nullable,
  objectSchema,
  oneOf,
  record,
  text,
} from './json-schema.ts';

const bound: JsonSchema = { type: ['integer', 'null'], minimum: 1, description: 'null: no bound' };
const boundOrNone: JsonSchema = { ...bound, minimum: 0 };
const size: JsonSchema = { type: ['integer', 'null'], minimum: 1, description: 'Bytes' };

/** Every field of a selector; a body may leave some out, an answer has them all. */
export const SELECTOR_FIELDS: { readonly [Field in keyof PoolSelector]: JsonSchema } = {
  attributes: described(
    record(text),
    'All must match; values may hold * and ?; @hostname, @zone and @region are known for every agent',
  ),
  kinds: described(nullableList(DISK_KINDS), 'null: MOUNT and PATH, and root with consent'),
  tiers: described(nullableList(DISK_TIERS), 'null: any'),
  sizeMinBytes: size,
  sizeMaxBytes: size,
  paths: described(nullable(list(text)), 'Globs over the root of a disk; null: any'),
  isRootAllowed: described(flag, "Consent to take the agents' root disks"),
  shareRatioMax: described(
    { type: ['number', 'null'], exclusiveMinimum: 0, maximum: 1 },
    'Largest part of a PATH or root disk; null: all of it',
  ),
  pieceBytes: described(
    size,
    'Carved from a PATH or root disk for one of ours; null: what there is',
  ),
  disksPerNodeMax: boundOrNone,
  nodesMax: boundOrNone,
};

function nullableList(values: readonly string[]): JsonSchema {
  return { ...list(oneOf(values)), type: ['array', 'null'], minItems: 1 };
}

const ratio: JsonSchema = { type: 'number', exclusiveMinimum: 0, maximum: 1 };
/** A week: longer than anyone waits on purpose. */
const COOLDOWN_SECONDS_MAX = 7 * 24 * 3600;

const SETTINGS: Readonly<Record<string, JsonSchema>> = {
  expandAtRatio: ratio,
  fullAtRatio: ratio,
  diskCountMax: bound,
  expandCooldownSeconds: { type: 'number', minimum: 0, maximum: COOLDOWN_SECONDS_MAX },
  isAutoExpand: flag,
  claimPerNode: bound,
  claimNodes: bound,
  defaultReplicas: count,
  failureDomain: oneOf(['node', 'zone']),
  priority: described(count, 'A disk that several pools select goes to the highest'),
  selector: objectSchema(SELECTOR_FIELDS, []),
};

const NEW_POOL = {
  name: text,
  pgCount: described(count, 'Placement groups per replica count, a power of two; for ever'),
  ...SETTINGS,
};

export const poolChanges: JsonSchema = { ...objectSchema(SETTINGS, []), minProperties: 1 };
export const newPool: JsonSchema = objectSchema(NEW_POOL, ['name']);
export const poolDocument: JsonSchema = objectSchema(
  {
    pools: list(newPool),
    isWhole: described(flag, 'Pools that are not named are deleted, but for the default one'),
  },
  ['pools'],
);

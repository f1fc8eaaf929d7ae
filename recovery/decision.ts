/**
 * From what the witnesses say to the facts of a new metadata store, or to the reasons why not
 * (docs/decisions/0008). Pure: the same witnesses and choices give the same answer.
 *
 * Whatever cannot be told is refused, with what would help; nothing is guessed unless the operator
 * says that it may be.
 */

import { Facts } from '../scheduler/core/facts.ts';
import type { PgRecord } from '../scheduler/core/records.ts';
import { describeError, StorageError } from '../shared/base/errors.ts';
import { formatNode, formatPg, formatVolume, type NodeId } from '../shared/base/ids.ts';
import type { ClusterMap } from '../shared/model/cluster-map.ts';
import type { StoreEntry } from '../shared/ports.ts';
import { judgePg, type PgJudgement } from './pg-judgement.ts';
import { describeContent, type KnownMap, type Witness } from './witness.ts';

export interface Choices {
  /** Nodes that the operator gives up hearing of. */
  readonly acceptedMissing: readonly NodeId[];
  /** Take the likeliest members of PGs whose last change nobody remembers, and drop unknown volumes. */
  readonly isDoubtAccepted: boolean;
  /** Milliseconds since 1970, for the record. */
  readonly nowMs: number;
}

export interface Refusal {
  readonly what: string;
  /** The one thing to do about it. */
  readonly remedy: string;
}

export interface RecoveryPlan {
  readonly kind: 'plan';
  readonly clusterId: string;
  readonly clusterName: string;
  readonly frameworkId: string | null;
  /** The next leader's term is above this one. */
  readonly term: number;
  readonly mapVersion: number;
  readonly basedOn: {
    readonly term: number;
    readonly version: number;
    readonly writtenAtMs: number;
    readonly sources: readonly string[];
  };
  readonly nodes: readonly string[];
  readonly missingNodes: readonly string[];
  readonly volumes: readonly {
    readonly id: string;
    readonly name: string;
    readonly sizeBytes: number;
  }[];
  readonly pgCount: number;
  /** What differs from the map, one sentence each. */
  readonly changes: readonly string[];
  readonly entries: readonly StoreEntry[];
}

export type Decision =
  | RecoveryPlan
  | { readonly kind: 'refused'; readonly refusals: readonly Refusal[] };

/** Above every term that anybody may have seen. */
const TERM_LEAP = 100;
/** Above every map version: a rebalance makes a few a second. */
const VERSION_LEAP = 1_000_000;
/** Above every epoch that the lost manager may have made without any witness: no number is used twice. */
const EPOCH_LEAP = 1_000;
/** Numbers of events and jobs that nobody remembers. */
const HISTORY_LEAP = 1_000;
/** Above every attempt to start a disk's task that the lost manager made unwitnessed: ids of tasks are used once. */
const ATTEMPT_LEAP = 100;
/** With missing nodes: numbers that were given out without us. */
const ID_LEAP = 100;

export function decideRecovery(witnesses: readonly Witness[], choices: Choices): Decision {
  const refusals: Refusal[] = [];
  const newest = chooseMap(witnesses, refusals);
  if (newest === null) return { kind: 'refused', refusals };
  const facts = factsOf(newest, refusals);
  if (facts === null) return { kind: 'refused', refusals };
  const missing = findMissing(newest.map, witnesses);
  const unaccepted = missing.filter((id) => !choices.acceptedMissing.includes(id));
  if (unaccepted.length > 0) {
    const names = unaccepted.map((id) => describeNode(newest.map, id)).join(', ');
    refusals.push({
      what: `No answer from ${names}, which the map names`,
      remedy: `Start their executors or name their disks with --from; if they are lost for good: --accept-missing ${unaccepted.map(formatNode).join(',')}`,
    });
  }
  const judgements = judgePgs(newest.map, witnesses, choices, refusals);
  refuseUnknownVolumes(newest.map, witnesses, choices, refusals);
  if (refusals.length > 0) return { kind: 'refused', refusals };
  return makePlan({ newest, facts, missing, judgements, witnesses, nowMs: choices.nowMs });
}

/** The newest map; refuses two clusters, two histories, two contents of one version, and no map at all. */
function chooseMap(witnesses: readonly Witness[], refusals: Refusal[]): KnownMap | null {
  const clusters = new Set(witnesses.map(({ clusterId }) => clusterId));
  if (clusters.size > 1) {
    const named = witnesses.map(({ clusterId, source }) => `${source} ("${clusterId}")`);
    refusals.push({
      what: `The sources belong to ${clusters.size} different clusters: ${some(named)}`,
      remedy: 'Name only executors and directories of the cluster to recover',
    });
    return null;
  }
  const known = witnesses.flatMap((witness) =>
    witness.known === null ? [] : [{ source: witness.source, ...witness.known }],
  );
  const [first] = known;
  if (first === undefined) {
    refusals.push({
      what: `None of ${witnesses.length} sources remembers a map`,
      remedy: 'Name more executors (--executor) or directories of disks (--from)',
    });
    return null;
  }
  const newest = known.reduce((best, one) => (isNewer(one, best) ? one : best), first);
  const { term, version } = newest.map;
  const other = known.find(
    ({ map }) => map.version > version || (map.version === version && map.term > term),
  );
  if (other !== undefined) {
    refusals.push({
      what: `Two histories: ${newest.source} has map ${version} of term ${term}, ${other.source} has map ${other.map.version} of the older term ${other.map.term}`,
      remedy:
        'An older metadata store was once put back; name only the sources of the history to keep',
    });
    return null;
  }
  const content = describeContent(newest);
  const differing = known.find(
    (one) => one.map.version === version && describeContent(one) !== content,
  );
  if (differing !== undefined) {
    refusals.push({
      what: `Map ${version} has two contents: ${newest.source} and ${differing.source} disagree`,
      remedy: 'Find out which of them is right, and name only sources that agree with it',
    });
    return null;
  }
  return newest;
}

function isNewer(a: KnownMap, b: KnownMap): boolean {
  if (a.map.term !== b.map.term) return a.map.term > b.map.term;
  if (a.map.version !== b.map.version) return a.map.version > b.map.version;
  // The same content: the longer list of facts, and the later word on the framework.
  return a.writtenAtMs > b.writtenAtMs && a.facts.size >= b.facts.size;
}

function factsOf(newest: KnownMap, refusals: Refusal[]): Facts | null {
  const entries = [...newest.facts].map(([key, value]) => ({ key, value }));
  try {
    const facts = Facts.load(entries);
    if (facts !== null && facts.cluster.clusterId === newest.map.clusterId) return facts;
    throw new StorageError('corrupt', 'it holds no record of the cluster');
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    refusals.push({
      what: `Map ${newest.map.version} cannot become a metadata store: ${describeError(error)}`,
      remedy: 'Name other sources; an executor of this version keeps the facts beside the map',
    });
    return null;
  }
}

/** Nodes of the map of which neither an executor nor a disk was heard. */
function findMissing(map: ClusterMap, witnesses: readonly Witness[]): readonly NodeId[] {
  const heard = new Set<NodeId>(witnesses.flatMap(({ node }) => (node === null ? [] : [node])));
  const nodeOfDisk = new Map(map.disks.map(({ id, node }) => [id, node]));
  for (const disk of witnesses.flatMap(({ disks }) => disks)) {
    const node = nodeOfDisk.get(disk.id);
    if (node !== undefined) heard.add(node);
  }
  return map.nodes.map(({ id }) => id).filter((id) => !heard.has(id));
}

function judgePgs(
  map: ClusterMap,
  witnesses: readonly Witness[],
  choices: Choices,
  refusals: Refusal[],
): readonly PgJudgement[] {
  const adopted = new Map<number, Map<number, number>>();
  const uuids = new Map(map.disks.map(({ id, uuid }) => [id, uuid]));
  for (const disk of witnesses.flatMap(({ disks }) => disks)) {
    // A disk of that number that is another one says nothing of this cluster's PGs.
    if (uuids.has(disk.id) && uuids.get(disk.id) !== disk.uuid) continue;
    for (const [pg, epoch] of disk.epochs) {
      const ofPg = adopted.get(pg) ?? new Map<number, number>();
      ofPg.set(disk.id, Math.max(epoch, ofPg.get(disk.id) ?? 0));
      adopted.set(pg, ofPg);
    }
  }
  const judgements = sortById(map.pgs).map((pg) =>
    judgePg(pg, adopted.get(pg.id) ?? new Map(), EPOCH_LEAP),
  );
  const doubted = judgements.filter(({ doubt }) => doubt !== '');
  if (doubted.length > 0 && !choices.isDoubtAccepted) {
    refusals.push({
      what: `Members of ${doubted.length} PGs cannot be told: ${some(doubted.map(({ pg, doubt }) => `${formatPg(pg.id)} (${doubt})`))}`,
      remedy:
        'Bring in the nodes that are missing (--executor, --from): one of them holds a newer map. As the last resort --accept-doubt takes the in-sync disks with the highest epoch',
    });
  }
  return judgements;
}

/** Data of volumes that are newer than the map would be taken for a deleted volume's. */
function refuseUnknownVolumes(
  map: ClusterMap,
  witnesses: readonly Witness[],
  choices: Choices,
  refusals: Refusal[],
): void {
  const unknown = new Set(
    witnesses
      .flatMap(({ disks }) => disks.flatMap(({ volumes }) => volumes))
      .filter((volume) => volume >= map.nextVolume),
  );
  if (unknown.size === 0 || choices.isDoubtAccepted) return;
  const names = [...unknown].map((id) => `v${id}`);
  refusals.push({
    what: `Disks hold data of ${some(names)}, newer than map ${map.version}: recovered without a newer map, that data would be deleted`,
    remedy:
      'Bring in the nodes that are missing, or save it first with "cistern rescue"; --accept-doubt drops it',
  });
}

interface Ingredients {
  readonly newest: KnownMap;
  readonly facts: Facts;
  readonly missing: readonly NodeId[];
  readonly judgements: readonly PgJudgement[];
  readonly witnesses: readonly Witness[];
  readonly nowMs: number;
}

function makePlan(ingredients: Ingredients): RecoveryPlan {
  const { newest, facts, missing, judgements, witnesses } = ingredients;
  const { map } = newest;
  const changes: string[] = [];
  for (const judgement of judgements) {
    facts.pgs.put(recordOf(judgement));
    if (judgement.change !== '') changes.push(`${formatPg(judgement.pg.id)}: ${judgement.change}`);
  }
  raiseGenerations(facts, witnesses, changes);
  // A task that the lost manager started: word of its end must not be taken for that of a later one.
  for (const disk of [...facts.disks.values()]) {
    facts.disks.update(disk.id, { taskAttempt: disk.taskAttempt + ATTEMPT_LEAP });
  }
  const maps = witnesses.flatMap(({ known }) => (known === null ? [] : [known.map]));
  const term = Math.max(...maps.map((one) => one.term)) + TERM_LEAP;
  const mapVersion = map.version + VERSION_LEAP;
  const { cluster } = facts;
  const idLeap = missing.length > 0 ? ID_LEAP : 0;
  const seenDisks = witnesses.flatMap(({ disks }) => disks.map(({ id }) => id + 1));
  const frameworkId = cluster.frameworkId ?? findFramework(witnesses);
  facts.updateCluster({
    frameworkId,
    mapVersion,
    nextNode: cluster.nextNode + idLeap,
    nextDisk: Math.max(cluster.nextDisk + idLeap, ...seenDisks),
    nextVolume: Math.max(cluster.nextVolume + idLeap, ...seenVolumes(witnesses)),
    nextJob: cluster.nextJob + HISTORY_LEAP,
    nextEvent: cluster.nextEvent + HISTORY_LEAP,
  });
  recordRecovery(facts, map, ingredients.nowMs);
  const sources = witnesses
    .filter(({ known }) => known?.map.version === map.version)
    .map(({ source }) => source);
  return {
    kind: 'plan',
    clusterId: cluster.clusterId,
    clusterName: cluster.name,
    frameworkId,
    term,
    mapVersion,
    basedOn: { term: map.term, version: map.version, writtenAtMs: newest.writtenAtMs, sources },
    nodes: sortById(map.nodes).map(({ id }) => describeNode(map, id)),
    missingNodes: missing.map((id) => describeNode(map, id)),
    volumes: sortById(map.volumes).map(({ id, name, sizeBytes }) => ({
      id: formatVolume(id),
      name,
      sizeBytes,
    })),
    pgCount: map.pgs.length,
    changes,
    entries: facts.entries(() => false),
  };
}

/** The first event of the new store. */
function recordRecovery(facts: Facts, map: ClusterMap, nowMs: number): void {
  facts.events.put({
    id: facts.allocate('nextEvent'),
    atMs: nowMs,
    severity: 'warning',
    kind: 'cluster.recovered',
    message: `The metadata store was recovered from map ${map.version} of term ${map.term}, which executors and disks had kept`,
    subject: 'cluster',
  });
}

/** As the map has it (its `minInSync` is the family's), with the members and the epoch as judged. */
function recordOf({ pg, inSync, joining, epoch }: PgJudgement): PgRecord {
  const suspects = (pg.suspects ?? []).filter((disk) => inSync.includes(disk));
  const compareEpoch = pg.compareEpoch ?? 0;
  return {
    id: pg.id,
    epoch,
    inSync,
    joining,
    target: pg.target,
    ...(suspects.length === 0 ? {} : { suspects }),
    ...(compareEpoch === 0 ? {} : { compareEpoch }),
  };
}

/** A generation above the record's: the volume was attached again, and nobody knows where. */
function raiseGenerations(facts: Facts, witnesses: readonly Witness[], changes: string[]): void {
  const seen = new Map<number, number>();
  for (const [volume, generation] of witnesses.flatMap(({ disks }) =>
    disks.flatMap(({ generations }) => generations),
  )) {
    seen.set(volume, Math.max(generation, seen.get(volume) ?? 0));
  }
  for (const volume of [...facts.volumes.values()]) {
    const generation = seen.get(volume.id) ?? 0;
    if (generation <= volume.generation) continue;
    facts.volumes.update(volume.id, { generation, attachedTo: null, isDetaching: false });
    changes.push(
      `${formatVolume(volume.id)}: generation ${volume.generation} → ${generation}, detached: it was attached again after this map`,
    );
  }
}

function findFramework(witnesses: readonly Witness[]): string | null {
  for (const { known } of witnesses) {
    const record = known?.facts.get('cluster');
    if (record === undefined) continue;
    const { frameworkId } = JSON.parse(record) as { readonly frameworkId?: string | null };
    if (frameworkId !== undefined && frameworkId !== null) return frameworkId;
  }
  return null;
}

/** One above each volume that any disk knows: numbers are never used again. */
function seenVolumes(witnesses: readonly Witness[]): readonly number[] {
  return witnesses.flatMap(({ disks }) =>
    disks.flatMap(({ volumes, generations }) => [
      ...volumes.map((volume) => volume + 1),
      ...generations.map(([volume]) => volume + 1),
    ]),
  );
}

function describeNode(map: ClusterMap, id: NodeId): string {
  const node = map.nodes.find((one) => one.id === id);
  return node === undefined ? formatNode(id) : `${formatNode(id)} (${node.hostname})`;
}

/** Tables of a map have no order. */
function sortById<T extends { readonly id: number }>(rows: readonly T[]): readonly T[] {
  return rows.toSorted((a, b) => a.id - b.id);
}

const NAMED_MAX = 5;

function some(names: readonly string[]): string {
  const rest = names.length - NAMED_MAX;
  const named = names.slice(0, NAMED_MAX).join(', ');
  return rest > 0 ? `${named} and ${rest} more` : named;
}

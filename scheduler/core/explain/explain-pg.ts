/** Why placement groups are not clean: which copies are missing, what each of them waits for, and what comes next. */
import {
  type DiskId,
  formatDisk,
  formatPg,
  type NodeId,
  type PgId,
} from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import type { PgCounts } from '../../../shared/model/api-views.ts';
import { isBraked } from '../brake.ts';
import { diskUse, rebuildWaitMs } from '../disks/disk-use.ts';
import { familyOf, isTrusted } from '../members/members.ts';
import { addCounts, countFamily, doubtfulPgs, type PgState, pgState } from '../members/pg-state.ts';
import { isDiskLost } from '../nodes/node-life.ts';
import type { WaitReason } from '../placement/move-plan.ts';
import type { PgFamilyRecord, PgRecord } from '../records.ts';
import { BRAKE_NEXT } from './explain-brake.ts';
import { explainDisk } from './explain-disk.ts';
import { explainNode } from './explain-node.ts';
import { suspectFacts, suspectOutlook } from './explain-suspects.ts';
import {
  causedBy,
  deadline,
  type Explanation,
  earliest,
  type Fact,
  makeExplanation,
  type Outlook,
  open,
  type Scene,
  toWall,
  WAIT,
} from './explanation.ts';

interface PgSubject {
  readonly scene: Scene;
  readonly pg: PgRecord;
  readonly family: PgFamilyRecord;
  /** In-sync members that serve now. */
  readonly serving: readonly DiskId[];
}

/** Every word that a PG's view may have; a new one does not compile without its explanation. */
export const PG_WORDS: Readonly<
  Record<
    PgState,
    | 'green'
    | {
        readonly severity: Explanation['severity'];
        /** `3 of 64 PGs of pool "default" …` */
        readonly groupText: string;
        readonly pgText: string;
        readonly outlook: (subject: PgSubject) => Outlook;
      }
  >
> = {
  clean: 'green',
  misplaced: {
    severity: 'notice',
    groupText: 'are not where the plan wants them',
    pgText: 'has all its replicas, but not where the plan wants them',
    outlook: moveOutlook,
  },
  degraded: {
    severity: 'degraded',
    groupText: 'lack a replica',
    pgText: 'lacks a replica',
    outlook: degradedOutlook,
  },
  unavailable: {
    severity: 'critical',
    groupText: 'have too few replicas to serve',
    pgText: 'has too few replicas to serve',
    outlook: unavailableOutlook,
  },
};

const WORST_FIRST: readonly PgState[] = ['unavailable', 'degraded', 'misplaced'];
/** Of a large group only so many are looked at one by one: the counts are those of all. */
const LOOKED_AT_MAX = 64;

/** null: it is clean. */
export function explainPg(scene: Scene, id: PgId): Explanation | null {
  const pg = scene.state.facts.pgs.get(id);
  const family = familyOf(scene.state, id);
  const word = pgState(pg, family, scene.serving);
  const entry = PG_WORDS[word];
  if (entry === 'green') return null;
  const serving = pg.inSync.filter((disk) => scene.serving.has(disk) && isTrusted(pg, disk));
  const subject: PgSubject = { scene, pg, family, serving };
  const causes = findCauses(subject);
  const count = `${serving.length} of ${family.replicas} replicas serve, ${Math.max(1, family.minInSync)} needed`;
  return makeExplanation({
    kind: 'pg',
    subject: formatPg(id),
    state: word,
    severity: entry.severity,
    message: `${formatPg(id)} of pool "${family.pool}" ${entry.pgText} (${count})`,
    sinceMs: earliest(causes),
    causes,
    ...(suspectOutlook(scene, pg) ?? entry.outlook(subject)),
  });
}

/**
 * One explanation per word that some of these families' PGs have: the PG that needs an operator most stands
 * for its group. `owner`: `pool "default"`, or `volume "db"`.
 */
export function explainPgGroups(
  scene: Scene,
  families: readonly PgFamilyRecord[],
  owner: { readonly subject: string; readonly kind: 'pool' | 'volume'; readonly name: string },
): readonly Explanation[] {
  const counts = addCounts(
    families.map((family) => countFamily(scene.state, family, scene.serving)),
  );
  const groups = sample(scene, families, counts);
  return WORST_FIRST.flatMap((word) => {
    const entry = PG_WORDS[word];
    const group = groups.get(word);
    if (entry === 'green' || group === undefined || counts[word] === 0) return [];
    const first = group.find((one) => one.command !== null) ?? group[0];
    if (first === undefined) return [];
    const { next, byMs, noDeadline, action, command } = first;
    const causes = causedBy(first);
    return [
      makeExplanation({
        kind: owner.kind,
        subject: owner.subject,
        state: word,
        severity: entry.severity,
        message: `${counts[word]} of ${counts.total} PGs of ${owner.kind} "${owner.name}" ${entry.groupText}`,
        sinceMs: earliest(causes),
        causes,
        next,
        byMs,
        noDeadline,
        action,
        command,
      }),
    ];
  });
}

function sample(
  scene: Scene,
  families: readonly PgFamilyRecord[],
  counts: PgCounts,
): ReadonlyMap<PgState, readonly Explanation[]> {
  const groups = new Map<PgState, Explanation[]>();
  if (counts.clean === counts.total) return groups;
  const { state, serving } = scene;
  for (const id of doubtfulPgs(state, serving)) {
    const family = families.find((one) => id >= one.pgBase && id < one.pgBase + one.pgCount);
    if (family === undefined) continue;
    const word = pgState(state.facts.pgs.get(id), family, serving);
    const group = groups.get(word) ?? [];
    groups.set(word, group);
    if (group.length >= LOOKED_AT_MAX) continue;
    const explanation = explainPg(scene, id);
    if (explanation !== null) group.push(explanation);
  }
  return groups;
}

/** Members that do not serve with their own chains, what joins, and what the plan cannot do. */
function findCauses({ scene, pg, family }: PgSubject): readonly Fact[] {
  const { state } = scene;
  const facts: Fact[] = [...suspectFacts(scene, pg)];
  const awaited = [...pg.inSync, ...pg.target].filter(
    (id, index, all) =>
      all.indexOf(id) === index && !scene.serving.has(id) && !pg.joining.includes(id),
  );
  for (const id of awaited) {
    const disk = state.facts.disks.find(id);
    if (disk === undefined) continue;
    facts.push(...causedBy(explainDisk(scene, disk)));
  }
  for (const id of pg.joining) facts.push(joinFact(scene, pg, id));
  if (pg.target.length < family.replicas) {
    for (const message of state.work.explanations.get(family.pool) ?? []) {
      facts.push({ subject: family.pool, message, sinceMs: null });
    }
    facts.push(...nodesAway(scene, family.pool));
  }
  return facts;
}

/** Nodes whose disks the pool would use, were they there. */
function nodesAway(scene: Scene, pool: string): readonly Fact[] {
  const { facts } = scene.state;
  const nodes = new Set<NodeId>();
  for (const disk of facts.disks.values()) if (disk.pool === pool) nodes.add(disk.node);
  return [...nodes].flatMap((id) => {
    const node = facts.nodes.get(id);
    const explanation = node.admin === 'gone' ? null : explainNode(scene, node);
    return explanation?.severity === 'degraded' ? causedBy(explanation) : [];
  });
}

function joinFact({ state }: Scene, pg: PgRecord, id: DiskId): Fact {
  const subject = formatDisk(id);
  const node = state.facts.disks.find(id)?.node;
  const joins = node === undefined ? [] : (state.nodes.get(node)?.report?.joins ?? []);
  const join = joins.find((one) => one.pg === pg.id && one.disk === id);
  if (join === undefined) {
    return { subject, message: `${subject} is joining ${formatPg(pg.id)}`, sinceMs: null };
  }
  const ratio = join.totalBytes === 0 ? 0 : Math.min(1, join.doneBytes / join.totalBytes);
  const stuck = join.error === '' ? '' : `; it does not get on: ${join.error}`;
  const percent = join.isComplete ? 100 : Math.floor(ratio * 100);
  return {
    subject,
    message: `${subject} is joining ${formatPg(pg.id)}, ${percent} % copied${stuck}`,
    sinceMs: null,
  };
}

function unavailableOutlook(subject: PgSubject): Outlook {
  const { scene, pg, family, serving } = subject;
  const { disks } = scene.state.facts;
  const lost = pg.inSync.filter((id) => {
    const disk = disks.find(id);
    return disk === undefined || isDiskLost(disk);
  });
  if (lost.length === pg.inSync.length) return lostOutlook(subject);
  if (serving.length > 0) {
    const { next, byMs, noDeadline, action, command } = degradedOutlook(subject);
    return {
      next: `Writes wait until ${family.minInSync} replicas are in sync. ${next}`,
      byMs,
      noDeadline,
      action,
      command,
    };
  }
  const awaited = pg.inSync.filter((id) => !lost.includes(id));
  const names = awaited.map(formatDisk).join(' or ');
  const explanations = awaited.flatMap((id) => {
    const disk = disks.find(id);
    return disk === undefined ? [] : [explainDisk(scene, disk)];
  });
  const first = explanations.find((one) => one !== null) ?? null;
  const hosts = awaited.map((id) => hostOf(scene, id)).join(' or ');
  return {
    next: `I/O there waits until one of the disks that are out of reach is back: ${names} has every write`,
    ...open(`nobody else has the data: it depends on when ${names} is back`),
    action:
      first?.kind === 'disk' && first.command !== null && first.state === 'failed'
        ? first.action
        : `Bring ${names} back (on ${hosts}); do not forget that node: it has the only copy`,
    command: first?.state === 'failed' ? first.command : null,
  };
}

function hostOf({ state }: Scene, id: DiskId): string {
  const node = state.facts.disks.find(id)?.node;
  return (node === undefined ? undefined : state.facts.nodes.find(node)?.hostname) ?? 'its host';
}

/** No copy is left that could come back by itself. */
function lostOutlook({ scene, pg }: PgSubject): Outlook {
  const failed = pg.inSync.find((id) => scene.state.facts.disks.find(id)?.phase === 'failed');
  const names = pg.inSync.map(formatDisk).join(', ');
  return {
    next: `Nothing by itself: every copy was on disks that failed or were lost (${names}), so I/O there waits`,
    ...open('only an operator can bring one of these disks back'),
    action:
      failed === undefined
        ? 'Restore the volumes there from a backup, or delete them: the group then begins anew, empty'
        : `Try ${formatDisk(failed)} again: its copy may be readable`,
    command: failed === undefined ? null : `cistern disk activate ${formatDisk(failed)}`,
  };
}

function degradedOutlook(subject: PgSubject): Outlook {
  const { scene, pg, family } = subject;
  const { state, now } = scene;
  if (pg.joining.length === 0) {
    const leaving = pg.inSync.find((id) => !scene.serving.has(id));
    const disk = leaving === undefined ? undefined : state.facts.disks.find(leaving);
    const leaseEndMs =
      disk === undefined ? null : toWall(now, state.nodes.get(disk.node)?.leaseEndsAtMs);
    if (disk !== undefined && leaseEndMs !== null && leaseEndMs > now.wallMs) {
      return {
        next: `Writes go on without ${formatDisk(disk.id)} as soon as its node's lease has certainly run out`,
        byMs: leaseEndMs,
        noDeadline: '',
        ...WAIT,
      };
    }
    for (const id of [...pg.target, ...pg.inSync]) {
      const away = state.facts.disks.find(id);
      if (away === undefined || diskUse(state, away) !== 'away') continue;
      return awayOutlook(scene, id);
    }
  }
  if (pg.target.length < family.replicas) {
    return {
      next: 'They are rebuilt as soon as there is a disk for them on one more node',
      ...open('there is no disk that could take the copy'),
      action: 'Bring back a node, or add one with a free disk',
      command: null,
    };
  }
  return moveOutlook(subject);
}

/** A disk that keeps its place for a while. */
function awayOutlook({ state, now }: Scene, id: DiskId): Outlook {
  if (isBraked(state)) return { byMs: null, ...WAIT, ...MOVE_WAITS.braked };
  const sinceMs = state.work.diskAwaySinceMs.get(id) ?? now.ms;
  const node = state.facts.disks.find(id)?.node;
  const waitMs = node === undefined ? state.options.rebuildAfterMs : rebuildWaitMs(state, node);
  const atMs = sinceMs + waitMs;
  return {
    next: `They are rebuilt from the replicas that are left in ${formatDuration(Math.max(0, atMs - now.ms))} unless ${formatDisk(id)} is back before`,
    ...deadline(toWall(now, atMs) ?? now.wallMs, now, 'the rebuild is due at this moment'),
    action: `Nothing, wait; or bring ${formatDisk(id)} back, which needs the least copying`,
    command: null,
  };
}

const COPY_TAKES = 'it takes as long as copying does; the job that does it has the estimate';

/** What a move waits for: every reason of the planner, so that a new one has its explanation, too. */
export const MOVE_WAITS: Readonly<
  Record<WaitReason, { readonly next: string; readonly noDeadline: string } & Partial<Outlook>>
> = {
  paused: {
    next: 'It is copied once background copying is allowed again',
    noDeadline: 'copying is switched off (CISTERN_RESYNC_MIB_PER_SECOND is 0)',
    action: 'Start the scheduler with a limit above 0',
  },
  braked: {
    next: BRAKE_NEXT,
    noDeadline: 'it depends on when the nodes that went together are back (cistern explain brake)',
    action: 'Bring the nodes back; only when they will not come soon, let their data be copied now',
    command: 'cistern brake release',
  },
  'join-running': { next: 'The copy that is running is finished', noDeadline: COPY_TAKES },
  'no-source': {
    next: 'It is copied as soon as a disk that has all of it serves again',
    noDeadline: 'it depends on when that disk is back',
  },
  'receiver-unusable': {
    next: 'It is copied as soon as the disk that should take it serves and is trusted again, or another plan is made',
    noDeadline: 'it depends on that disk',
  },
  'receiver-full': {
    next: 'It is copied as soon as the disk that should take it has room',
    noDeadline: 'copying must not be what fills a disk: it depends on new disks or deleted data',
    action: 'Add a disk, or delete data that is not needed',
  },
  'disk-busy': {
    next: 'It is copied when the copies that its disks are busy with are done',
    noDeadline: COPY_TAKES,
  },
  'total-limit': {
    next: 'It is copied when others that run now are done',
    noDeadline: COPY_TAKES,
  },
};

function moveOutlook({ scene, pg }: PgSubject): Outlook {
  if (pg.joining.length > 0) {
    return {
      next: `${pg.joining.map(formatDisk).join(' and ')} has all new writes and becomes a full member when the rest is copied`,
      ...open(COPY_TAKES),
      ...WAIT,
    };
  }
  const wait = scene.state.work.moveWaits.get(pg.id);
  if (wait !== undefined) return { byMs: null, ...WAIT, ...MOVE_WAITS[wait] };
  return {
    next: 'They are rebuilt from the replicas that are left: the next plan starts it',
    ...open('plans are made once a second, but each waits for its turn'),
    ...WAIT,
  };
}

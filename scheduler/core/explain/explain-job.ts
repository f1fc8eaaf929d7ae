/** What a running job waits for, when it does not get on, and how a job ended that did not succeed. */
import { formatDisk, formatJob, formatPg } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import type { JobView } from '../../../shared/model/api-views.ts';
import { stuckSinceMs } from '../jobs/job-progress.ts';
import { moveKind } from '../jobs/jobs.ts';
import { scrubObstacle } from '../jobs/scrubs.ts';
import { familyOf } from '../members/members.ts';
import type { WaitReason } from '../placement/move-plan.ts';
import type { JobRecord } from '../records.ts';
import { explainMesos } from './explain-mesos.ts';
import { MOVE_WAITS } from './explain-pg.ts';
import {
  explainDecommission,
  explainReplace,
  explainUninstall,
  explainUpgrade,
} from './explain-planned.ts';
import { explainPool } from './explain-pool.ts';
import {
  causedBy,
  type Explanation,
  type Fact,
  makeExplanation,
  type Outlook,
  open,
  type Scene,
  WAIT,
} from './explanation.ts';

type Explained = Pick<Explanation, 'severity' | 'causes' | 'message'> & Outlook;
type Explain = (scene: Scene, job: JobRecord) => Explained;

/** Every word that a job's view may have. */
export const JOB_PHASES: Readonly<Record<JobView['state'], 'green' | Explain>> = {
  running: (scene, job) => JOB_KINDS[job.kind](scene, job),
  paused: explainPaused,
  done: 'green',
  cancelled: 'green',
  failed: explainFailed,
};

/** Every kind of job, while it runs. */
export const JOB_KINDS: Readonly<Record<JobView['kind'], Explain>> = {
  rebuild: explainMoves,
  rebalance: explainMoves,
  drain: explainMoves,
  expand: explainExpand,
  delete: explainDelete,
  scrub: explainScrub,
  apply: explainApply,
  decommission: explainDecommission,
  replace: explainReplace,
  upgrade: explainUpgrade,
  uninstall: explainUninstall,
};

/** null: it has ended well. */
export function explainJob(scene: Scene, job: JobRecord): Explanation | null {
  const explain = JOB_PHASES[job.phase];
  if (explain === 'green') return null;
  return makeExplanation({
    kind: 'job',
    subject: formatJob(job.id),
    state: job.phase,
    sinceMs: job.startedAtMs,
    ...explain(scene, job),
  });
}

function title(job: JobRecord): string {
  return `${formatJob(job.id)} (${job.kind} ${job.subject})`;
}

function explainMoves(scene: Scene, job: JobRecord): Explained {
  const { running, errors } = findJoins(scene, job);
  const waits = countWaits(scene, job);
  const left = job.movesTotal - job.movesDone;
  const reason: Fact = {
    subject: formatJob(job.id),
    message: `It began because ${job.reason}`,
    sinceMs: job.startedAtMs,
  };
  const waitFacts = [...waits].map(([wait, count]) => ({
    subject: formatJob(job.id),
    message: `${count} replicas wait. ${MOVE_WAITS[wait].next}`,
    sinceMs: null,
  }));
  const causes = [...errors, ...waitFacts, reason];
  const stuckMs = stuckSinceMs(scene.state, job.id, scene.now);
  if (running > 0 && errors.length < running && stuckMs === null) {
    return {
      severity: 'notice',
      message: `${title(job)} runs: ${left} of ${job.movesTotal} replicas are left, ${running} are being copied`,
      causes,
      next: 'The copies that run are finished, then the next ones begin',
      ...open('copying takes as long as its limits and the load of clients allow'),
      ...WAIT,
    };
  }
  const first = [...waits.keys()][0];
  const outlook: Outlook =
    first === undefined
      ? {
          next: 'The next plan, within seconds, starts what is left',
          ...open('plans are made once a second, but each copy waits for its turn'),
          ...WAIT,
        }
      : { byMs: null, ...WAIT, ...MOVE_WAITS[first] };
  const still =
    stuckMs === null ? '' : `; it has not moved for ${formatDuration(scene.now.ms - stuckMs)}`;
  const stuck =
    running > 0
      ? `its ${running} copies do not get on${still}`
      : `nothing is being copied now${still}`;
  return {
    severity: errors.length > 0 || (stuckMs !== null && running > 0) ? 'degraded' : 'notice',
    message: `${title(job)} waits: ${left} of ${job.movesTotal} replicas are left, ${stuck}`,
    causes: [...causes, ...planObstacles(scene, job)],
    ...outlook,
  };
}

interface Joins {
  readonly running: number;
  readonly errors: readonly Fact[];
}

/** Joins that belong to the job, and those of them that say why they do not get on. */
function findJoins(scene: Scene, job: JobRecord): Joins {
  const { state } = scene;
  let running = 0;
  const errors: Fact[] = [];
  for (const observed of state.nodes.values()) {
    for (const join of observed.report?.joins ?? []) {
      const pg = state.facts.pgs.find(join.pg);
      if (pg === undefined || !pg.joining.includes(join.disk)) continue;
      const kind = moveKind(state, pg);
      const isOurs =
        kind === job.kind && (kind === 'drain' || familyOf(state, pg.id).pool === job.subject);
      if (!isOurs) continue;
      running += 1;
      if (join.error === '') continue;
      errors.push({
        subject: formatPg(join.pg),
        message: `${formatDisk(join.disk)} cannot copy ${formatPg(join.pg)}: ${join.error}`,
        sinceMs: null,
      });
    }
  }
  return { running, errors };
}

/** Most frequent first. */
function countWaits({ state }: Scene, job: JobRecord): ReadonlyMap<WaitReason, number> {
  const counts = new Map<WaitReason, number>();
  for (const [id, wait] of state.work.moveWaits) {
    const pg = state.facts.pgs.find(id);
    if (pg === undefined || !state.work.unsettled.has(id)) continue;
    const kind = moveKind(state, pg);
    if (kind !== job.kind) continue;
    if (kind !== 'drain' && familyOf(state, id).pool !== job.subject) continue;
    counts.set(wait, (counts.get(wait) ?? 0) + 1);
  }
  return new Map([...counts].toSorted(([, one], [, other]) => other - one));
}

function planObstacles({ state }: Scene, job: JobRecord): readonly Fact[] {
  const pools =
    job.kind === 'drain'
      ? [...state.facts.disks.values()]
          .filter((disk) => [`d${disk.id}`, `n${disk.node}`].includes(job.subject))
          .map((disk) => disk.pool)
      : [job.subject];
  return [...new Set(pools)].flatMap((pool) =>
    (state.work.explanations.get(pool) ?? []).map((message) => ({
      subject: pool,
      message,
      sinceMs: null,
    })),
  );
}

function explainExpand(scene: Scene, job: JobRecord): Explained {
  const pool = scene.state.facts.pools.find(job.subject);
  const [room] = pool === undefined ? [] : explainPool(scene, pool);
  const wish = scene.state.expansion.get(job.subject);
  return {
    severity: 'notice',
    message: `${title(job)} has ${job.movesDone} of ${job.movesTotal} disks`,
    causes: [...causedBy(room ?? null), ...causedBy(explainMesos(scene))],
    next:
      wish === undefined
        ? 'The disks that were claimed open their stores'
        : `${wish.diskCount} more disks are claimed as Mesos offers them`,
    ...open('it depends on when Mesos offers disks that fit, and on how fast executors start'),
    action: 'Nothing, wait; add agents or disks when Mesos has none to offer',
    command: null,
  };
}

function explainDelete(_scene: Scene, job: JobRecord): Explained {
  return {
    severity: 'notice',
    message: `${title(job)} frees space: ${job.reason}`,
    causes: [],
    next: 'Executors free the extents; then it ends',
    ...open(
      'it takes as long as freeing does; nodes that are away free their part when they are back',
    ),
    ...WAIT,
  };
}

function explainFailed(_scene: Scene, job: JobRecord): Explained {
  return {
    severity: 'notice',
    message: `${title(job)} failed: ${job.reason}`,
    causes: [],
    next: 'Nothing: a job that ended is only kept for reading',
    ...open('it has ended'),
    action: 'Read what it found, and its events',
    command: 'cistern events --limit 50',
  };
}

function explainScrub({ state }: Scene, job: JobRecord): Explained {
  const left = job.movesTotal - job.movesDone;
  const obstacle = scrubObstacle(state);
  const reason: Fact = {
    subject: formatJob(job.id),
    message: `It began because ${job.reason}`,
    sinceMs: job.startedAtMs,
  };
  const causes =
    obstacle === null
      ? [reason]
      : [{ subject: formatJob(job.id), message: obstacle, sinceMs: null }, reason];
  return {
    severity: 'notice',
    message: `${title(job)} runs: ${left} of ${job.movesTotal} replicas are left`,
    causes,
    next: 'Each disk reads one placement group after the other, and gives way to clients and rebuilds',
    ...open('reading everything takes as long as its share of each disk allows'),
    ...WAIT,
  };
}

function explainApply({ state }: Scene, job: JobRecord): Explained {
  const leaving = [...state.facts.disks.values()].filter(
    (disk) => (disk.unselected ?? null) !== null,
  );
  const pools = [...new Set(leaving.map((disk) => disk.pool))];
  const obstacles = pools.flatMap((pool) => state.work.explanations.get(pool) ?? []);
  const left = job.movesTotal - job.movesDone;
  return {
    severity: 'notice',
    message: `${title(job)} runs: ${leaving.length} disks are yet to leave their pools, ${left} of ${job.movesTotal} replicas are left on them`,
    causes: [job.reason, ...obstacles].map((message) => ({
      subject: formatJob(job.id),
      message,
      sinceMs: null,
    })),
    next: 'Node by node the disks are emptied, then they go to another pool or back to Mesos',
    ...open('copying takes as long as its limits and the load of clients allow'),
    ...WAIT,
  };
}

function explainPaused(_scene: Scene, job: JobRecord): Explained {
  return {
    severity: 'notice',
    message: `${title(job)} is paused: ${job.movesTotal - job.movesDone} of ${job.movesTotal} replicas are left`,
    causes: [],
    next: 'Copies that run are finished, no other begins, and its pools claim no disk',
    ...open('an operator paused it'),
    action: 'Let it go on, or cancel it',
    command: `cistern job resume ${formatJob(job.id)}`,
  };
}

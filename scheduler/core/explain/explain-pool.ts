/** Why a pool is not green: room, expansion, and the placement groups in it. */
import { formatDisk } from '../../../shared/base/ids.ts';
import type { PoolView } from '../../../shared/model/api-views.ts';
import { comingDisks, poolCapacity } from '../capacity/capacity.ts';
import { findGrowing, GROW_MS_MAX } from '../capacity/growth.ts';
import { findRunningJob } from '../jobs/jobs.ts';
import type { PoolRecord } from '../records.ts';
import { explainMesos } from './explain-mesos.ts';
import { explainPgGroups } from './explain-pg.ts';
import {
  causedBy,
  deadline,
  type Explanation,
  makeExplanation,
  type Outlook,
  open,
  type Scene,
  toWall,
  WAIT,
} from './explanation.ts';

/** A pool's view has flags and figures instead of a word; these are the words for them. */
export type RoomWord = 'roomy' | 'nearly-full' | 'full';

export function roomWord(view: Pick<PoolView, 'isFull' | 'capacity' | 'expandAtRatio'>): RoomWord {
  if (view.isFull) return 'full';
  return view.capacity.usedRatio >= view.expandAtRatio ? 'nearly-full' : 'roomy';
}

/** Room first, then the placement groups, worst first; empty when all is green. */
export function explainPool(scene: Scene, pool: PoolRecord): readonly Explanation[] {
  const families = [...scene.state.facts.families.values()].filter(
    (family) => family.pool === pool.name,
  );
  const owner = { subject: pool.name, kind: 'pool', name: pool.name } as const;
  return [...explainRoom(scene, pool), ...explainPgGroups(scene, families, owner)];
}

export function explainRoom(scene: Scene, pool: PoolRecord): readonly Explanation[] {
  const { state } = scene;
  const capacity = poolCapacity(state, pool);
  const word = roomWord({ ...pool, capacity });
  if (word === 'roomy') return [];
  const job = findRunningJob(state, 'expand', pool.name);
  const percent = `${(capacity.usedRatio * 100).toFixed(0)} %`;
  return [
    makeExplanation({
      kind: 'pool',
      subject: pool.name,
      state: word,
      severity: word === 'full' ? 'critical' : 'degraded',
      message:
        word === 'full'
          ? `Pool "${pool.name}" is full: writes that need new space get ENOSPC`
          : `Pool "${pool.name}" is ${percent} used`,
      sinceMs: lastEventMs(scene, word === 'full' ? 'pool.full' : 'pool.expanding', pool.name),
      causes: [
        ...(job === null
          ? []
          : [{ subject: `j${job.id}`, message: job.reason, sinceMs: job.startedAtMs }]),
        ...obstacles(scene, pool),
      ],
      ...expansionOutlook(scene, pool),
    }),
  ];
}

/** Why Mesos gave no disk, as far as that is known. */
function obstacles(scene: Scene, pool: PoolRecord) {
  const { hook } = pool;
  const failed =
    hook?.state === 'waiting'
      ? [{ subject: 'capacity hook', message: hook.message, sinceMs: hook.askedAtMs }]
      : [];
  const facts = [...scene.state.mesos.passedOver].map(([hostname, why]) => ({
    subject: 'mesos',
    message: `Free disks on "${hostname}" were left: ${why}`,
    sinceMs: null,
  }));
  return [...failed, ...facts, ...causedBy(explainMesos(scene))];
}

function hookOutlook({ hook }: PoolRecord): string {
  if (hook === undefined || hook === null || hook.state === 'idle') return '';
  if (hook.state === 'asked') return `; the capacity hook is asked for ${hook.count}`;
  if (hook.state === 'promised') return `; the capacity hook promised some: ${hook.message}`;
  return `; the capacity hook failed and is asked again at ${new Date(hook.nextAtMs).toISOString()}`;
}

function expansionOutlook({ state, now }: Scene, pool: PoolRecord): Outlook {
  const wish = state.expansion.get(pool.name);
  const coming = comingDisks(state, pool.name).length;
  if (coming > 0) {
    return {
      next: `${coming} more disks are claimed and will serve soon`,
      ...open('their executors have to start and open them'),
      ...WAIT,
    };
  }
  const growing = findGrowing(state);
  if (growing !== null && growing.pool === pool.name) {
    return {
      next: `${formatDisk(growing.id)} is stopped for a moment to grow`,
      ...deadline(
        (growing.growth?.sinceMs ?? now.wallMs) + GROW_MS_MAX,
        now,
        'it is started again as it was at the next look',
      ),
      ...WAIT,
    };
  }
  if (wish !== undefined) {
    return {
      next: `It is being expanded by ${wish.diskCount} disks as Mesos offers them${hookOutlook(pool)}`,
      ...open('it depends on when Mesos offers disks that fit'),
      action: 'Add agents or disks, or delete data',
      command: null,
    };
  }
  if (!pool.isAutoExpand) {
    return {
      next: 'Add disks or delete data: automatic expansion is switched off',
      ...open('nothing happens by itself'),
      action: 'Let it expand by itself',
      command: `cistern pool set ${pool.name} --auto-expand`,
    };
  }
  if (pool.diskCountMax !== null) {
    return {
      next: `It may have at most ${pool.diskCountMax} disks: raise that or delete data`,
      ...open('nothing happens by itself'),
      action: 'Allow it more disks',
      command: `cistern pool set ${pool.name} --max-disks none`,
    };
  }
  const atMs = state.work.expandAfterMs.get(pool.name);
  return {
    next: 'It is expanded after the cool-down of the last expansion',
    ...deadline(
      toWall(now, atMs) ?? now.wallMs,
      now,
      'it is decided at the next look, within a second',
    ),
    ...WAIT,
  };
}

/** When the newest event of a kind about the subject was recorded; null when it is not kept any more. */
function lastEventMs({ state }: Scene, kind: string, subject: string): number | null {
  const { events, cluster } = state.facts;
  for (let id = cluster.nextEvent - 1; id > 0; id -= 1) {
    const event = events.find(id);
    if (event === undefined) return null;
    if (event.kind === kind && event.subject === subject) return event.atMs;
  }
  return null;
}

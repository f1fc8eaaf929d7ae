/** Starting a scrub. It is a job: looked at and called off as such. */
import type { FastifyInstance } from 'fastify';
import { present } from '../../shared/base/assert.ts';
import type { ScrubScope } from '../../shared/model/scrub.ts';
import { run } from './execution.ts';
import { described, objectSchema, ref, text } from './json-schema.ts';
import type { ManagerPort } from './manager-port.ts';
import { diskIdOf, getDisk, getPool, getVolume, jobIdOf, volumeIdOf } from './references.ts';
import { describeRoute } from './route-schema.ts';

interface ScrubBody {
  readonly pool?: string;
  readonly volume?: string;
  readonly disk?: string;
}

const scrubBody = {
  ...objectSchema(
    {
      pool: described(text, 'Only this pool'),
      volume: described(text, 'Only this volume: id (v5) or name'),
      disk: described(text, 'Only this disk: id (d7) or UUID'),
    },
    [],
  ),
  maxProperties: 1,
};

export function addScrubRoute(app: FastifyInstance, manager: ManagerPort): void {
  app.post<{ Body: ScrubBody | null }>(
    '/scrubs',
    {
      schema: describeRoute(
        'jobs',
        'Read everything and compare the replicas, now; the answer is the job that does',
        ref('Job'),
        { body: scrubBody },
      ),
    },
    async (request) => {
      const scope = scopeOf(manager, request.body ?? {});
      await run(manager, { kind: 'start-scrub', scope, isScheduled: false });
      // One at a time: the newest is the one that began just now.
      const [job] = manager
        .jobs()
        .filter(({ kind }) => kind === 'scrub')
        .toSorted((one, other) => jobIdOf(other) - jobIdOf(one));
      return present(job, 'scrub job');
    },
  );
}

function scopeOf(manager: ManagerPort, body: ScrubBody): ScrubScope {
  const { pool, volume, disk } = body;
  return {
    pool: pool === undefined ? null : getPool(manager, pool).name,
    volume: volume === undefined ? null : volumeIdOf(getVolume(manager, volume)),
    disk: disk === undefined ? null : diskIdOf(getDisk(manager, disk)),
  };
}

/** Everything that only looks: `GET /v1/…` but for the streams. */
import type { FastifyInstance } from 'fastify';
import type { EventView, PgView } from '../../shared/model/api-views.ts';
import { count, described, list, objectSchema, oneOf, ref, text } from './json-schema.ts';
import type { ManagerPort } from './manager-port.ts';
import { getDisk, getExplanation, getJob, getNode, getPool, getVolume } from './references.ts';
import { describeRoute, pathParameter } from './route-schema.ts';
import { PG_STATES } from './view-schemas.ts';

/** A page of events or PGs; bounded so that one answer stays below some megabytes. */
const EVENTS_DEFAULT = 100;
const EVENTS_MAX = 1000;
/** All that the manager keeps. */
const ALL_EVENTS = 1_000_000;

interface PgQuery {
  readonly pool?: string;
  readonly state?: PgView['state'];
  readonly disk?: string;
}

interface EventsQuery {
  readonly since?: number;
  readonly limit?: number;
}

export function addReadRoutes(app: FastifyInstance, manager: ManagerPort): void {
  app.get(
    '/cluster',
    { schema: describeRoute('cluster', 'Health, capacity and sums', ref('Cluster')) },
    async () => manager.cluster(),
  );
  addPlaceRoutes(app, manager);
  addPlacementRoutes(app, manager);
  addVolumeRoutes(app, manager);
  addHistoryRoutes(app, manager);
  addExplainRoutes(app, manager);
}

function addPlaceRoutes(app: FastifyInstance, manager: ManagerPort): void {
  app.get('/nodes', { schema: describeRoute('nodes', 'All nodes', list(ref('Node'))) }, async () =>
    manager.nodes(),
  );
  app.get<{ Params: { node: string } }>(
    '/nodes/:node',
    {
      schema: describeRoute('nodes', 'One node', ref('Node'), {
        params: pathParameter('node', 'Id (n3) or hostname'),
      }),
    },
    async (request) => getNode(manager, request.params.node),
  );
  app.get('/disks', { schema: describeRoute('disks', 'All disks', list(ref('Disk'))) }, async () =>
    manager.disks(),
  );
  app.get<{ Params: { disk: string } }>(
    '/disks/:disk',
    {
      schema: describeRoute('disks', 'One disk', ref('Disk'), {
        params: pathParameter('disk', 'Id (d7) or UUID'),
      }),
    },
    async (request) => getDisk(manager, request.params.disk),
  );
}

function addPlacementRoutes(app: FastifyInstance, manager: ManagerPort): void {
  app.get('/pools', { schema: describeRoute('pools', 'All pools', list(ref('Pool'))) }, async () =>
    manager.pools(),
  );
  app.get<{ Params: { pool: string } }>(
    '/pools/:pool',
    {
      schema: describeRoute('pools', 'One pool', ref('Pool'), {
        params: pathParameter('pool', 'Name'),
      }),
    },
    async (request) => getPool(manager, request.params.pool),
  );
  app.get<{ Querystring: PgQuery }>(
    '/pgs',
    {
      schema: describeRoute('placement groups', 'Placement groups', list(ref('Pg')), {
        querystring: objectSchema(
          {
            pool: described(text, 'Only those of this pool'),
            state: oneOf(PG_STATES),
            disk: described(text, 'Only those that are, or shall be, on this disk'),
          },
          [],
        ),
      }),
    },
    async (request) => {
      const { pool, state, disk } = request.query;
      return manager.pgs({
        ...(pool === undefined ? {} : { pool: getPool(manager, pool).name }),
        ...(state === undefined ? {} : { state }),
        ...(disk === undefined ? {} : { disk: getDisk(manager, disk).id }),
      });
    },
  );
}

function addVolumeRoutes(app: FastifyInstance, manager: ManagerPort): void {
  app.get(
    '/volumes',
    { schema: describeRoute('volumes', 'All volumes', list(ref('Volume'))) },
    async () => manager.volumes(),
  );
  app.get<{ Params: { volume: string } }>(
    '/volumes/:volume',
    {
      schema: describeRoute('volumes', 'One volume', ref('Volume'), {
        params: pathParameter('volume', 'Id (v5) or name'),
      }),
    },
    async (request) => getVolume(manager, request.params.volume),
  );
  app.get(
    '/attachments',
    { schema: describeRoute('volumes', 'All attachments', list(ref('Attachment'))) },
    async () => manager.attachments(),
  );
}

function addHistoryRoutes(app: FastifyInstance, manager: ManagerPort): void {
  app.get(
    '/jobs',
    { schema: describeRoute('jobs', 'Running jobs and those that ended lately', list(ref('Job'))) },
    async () => manager.jobs(),
  );
  app.get<{ Params: { job: string } }>(
    '/jobs/:job',
    {
      schema: describeRoute('jobs', 'One job', ref('Job'), {
        params: pathParameter('job', 'Id (j4)'),
      }),
    },
    async (request) => getJob(manager, request.params.job),
  );
  app.get<{ Querystring: EventsQuery }>(
    '/events',
    {
      schema: describeRoute(
        'events',
        'Events in order: the newest, or with `since` the first ones after it',
        list(ref('Event')),
        {
          querystring: objectSchema(
            {
              since: described(count, 'Id of the last event that is known'),
              limit: { type: 'integer', minimum: 1, maximum: EVENTS_MAX },
            },
            [],
          ),
        },
      ),
    },
    async (request) => readEvents(manager, request.query),
  );
}

/** With `since`, whoever pages on misses none; without, the newest are what a person wants. */
function readEvents(manager: ManagerPort, query: EventsQuery): readonly EventView[] {
  const limit = query.limit ?? EVENTS_DEFAULT;
  if (query.since === undefined) return manager.events(0, limit);
  return manager.events(query.since, ALL_EVENTS).slice(0, limit);
}

function addExplainRoutes(app: FastifyInstance, manager: ManagerPort): void {
  app.get(
    '/explain',
    { schema: describeRoute('explain', 'Why everything that is not green is so', ref('Explain')) },
    async () => manager.explain(null),
  );
  app.get<{ Params: { subject: string } }>(
    '/explain/:subject',
    {
      schema: describeRoute('explain', 'Why one thing is not green', ref('Explain'), {
        params: pathParameter(
          'subject',
          'Id (n3, d7, pg12, v5, j4, mesos) or name (of a volume, a pool, a host)',
        ),
      }),
    },
    async (request) => getExplanation(manager, request.params.subject),
  );
}

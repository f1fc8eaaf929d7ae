/** Pools: create, change, delete; and all of them at once, as a document that is planned and applied. */
import type { FastifyInstance } from 'fastify';
import { StorageError } from '../../shared/base/errors.ts';
import type { JobView } from '../../shared/model/api-views.ts';
import type {
  NewPool,
  PlanView,
  PoolDocument,
  PoolSettings,
} from '../../shared/model/pool-settings.ts';
import { run } from './execution.ts';
import { nullable, objectSchema, ref } from './json-schema.ts';
import type { ManagerPort } from './manager-port.ts';
import { newPool, poolChanges, poolDocument } from './pool-schemas.ts';
import { getPool } from './references.ts';
import { describeRoute, pathParameter } from './route-schema.ts';

/** As callers write it: seconds instead of milliseconds. */
type Given<T> = Omit<T, 'expandCooldownMs'> & { readonly expandCooldownSeconds?: number };

interface GivenDocument {
  readonly pools: readonly Given<NewPool>[];
  readonly isWhole?: boolean;
}

/** `job`: the work that was started, if any disk has to move. */
interface ApplyAnswer {
  readonly job: JobView | null;
}

const applyAnswer = objectSchema({ job: nullable(ref('Job')) }, ['job']);

export function addPoolRoutes(app: FastifyInstance, manager: ManagerPort): void {
  addPoolCommands(app, manager);
  addPlanRoutes(app, manager);
}

function addPoolCommands(app: FastifyInstance, manager: ManagerPort): void {
  app.post<{ Body: Given<NewPool> }>(
    '/pools',
    { schema: describeRoute('pools', 'Create a pool', ref('Pool'), { body: newPool }) },
    async (request) => {
      await run(manager, { kind: 'create-pool', pool: settingsOf<NewPool>(request.body) });
      return getPool(manager, request.body.name);
    },
  );
  app.patch<{ Params: { pool: string }; Body: Given<PoolSettings> }>(
    '/pools/:pool',
    {
      schema: describeRoute(
        'pools',
        'Change settings of a pool; disks that do not fit any more wait for an apply',
        ref('Pool'),
        { params: pathParameter('pool', 'Name'), body: poolChanges },
      ),
    },
    async (request) => {
      const { name } = getPool(manager, request.params.pool);
      const changes = settingsOf<PoolSettings>(request.body);
      await run(manager, { kind: 'update-pool', pool: name, changes });
      return getPool(manager, name);
    },
  );
  app.delete<{ Params: { pool: string } }>(
    '/pools/:pool',
    {
      schema: describeRoute(
        'pools',
        'Delete a pool without volumes; its disks go to pools that select them, or back to Mesos',
        applyAnswer,
        { params: pathParameter('pool', 'Name') },
      ),
    },
    async (request): Promise<ApplyAnswer> => {
      const { name } = getPool(manager, request.params.pool);
      await run(manager, { kind: 'delete-pool', pool: name });
      return { job: findApply(manager) };
    },
  );
}

function addPlanRoutes(app: FastifyInstance, manager: ManagerPort): void {
  app.get(
    '/plan',
    {
      schema: describeRoute(
        'pools',
        'What is pending: disks that do not fit their pool, and disks that would be claimed',
        ref('Plan'),
      ),
    },
    async () => planOf(manager, null),
  );
  app.post<{ Body: GivenDocument }>(
    '/plan',
    {
      schema: describeRoute('pools', 'What a document of pools would change', ref('Plan'), {
        body: poolDocument,
      }),
    },
    async (request) => planOf(manager, documentOf(request.body)),
  );
  app.post<{ Body: Partial<GivenDocument> }>(
    '/apply',
    {
      schema: describeRoute(
        'pools',
        'Put a document of pools in force (without one: do what is pending), and move disks, node by node',
        applyAnswer,
        { body: { ...poolDocument, required: [] } },
      ),
    },
    async (request): Promise<ApplyAnswer> => {
      const { pools, isWhole = false } = request.body;
      const document = pools === undefined ? null : documentOf({ pools, isWhole });
      await run(manager, { kind: 'apply-pools', document });
      return { job: findApply(manager) };
    },
  );
}

function planOf(manager: ManagerPort, document: PoolDocument | null): PlanView {
  const plan = manager.plan(document);
  if (plan instanceof StorageError) throw plan;
  return plan;
}

function documentOf({ pools, isWhole = false }: GivenDocument): PoolDocument {
  return { pools: pools.map((pool) => settingsOf<NewPool>(pool)), isWhole };
}

function settingsOf<T extends PoolSettings>(given: Given<T>): T {
  const { expandCooldownSeconds, ...rest } = given;
  const settings =
    expandCooldownSeconds === undefined
      ? rest
      : { ...rest, expandCooldownMs: Math.round(expandCooldownSeconds * 1000) };
  // The schema of the route has seen to it that nothing else is in it.
  return settings as unknown as T;
}

/** There is one at a time, and it is the newest of its kind. */
function findApply(manager: ManagerPort): JobView | null {
  const jobs = manager.jobs().filter(({ kind }) => kind === 'apply');
  const open = jobs.filter(({ state }) => state === 'running' || state === 'paused');
  return open.at(-1) ?? null;
}

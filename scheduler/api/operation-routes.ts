/** Commands on nodes, disks and jobs. Those that start work answer with the job to watch. */
import type { FastifyInstance } from 'fastify';
import type { DiskView, JobView, NodeView } from '../../shared/model/api-views.ts';
import { run } from './execution.ts';
import { nullable, objectSchema, ref } from './json-schema.ts';
import type { ManagerPort } from './manager-port.ts';
import { addPlannedWork, findStarted } from './planned-routes.ts';
import { diskIdOf, getDisk, getJob, getNode, jobIdOf, nodeIdOf } from './references.ts';
import { describeRoute, pathParameter } from './route-schema.ts';
import { addScrubRoute } from './scrub-routes.ts';

/** `job`: the work that the command started and that is still running, if any. */
export interface NodeAnswer {
  readonly node: NodeView;
  readonly job: JobView | null;
}

export interface DiskAnswer {
  readonly disk: DiskView;
  readonly job: JobView | null;
}

const nodeAnswer = objectSchema({ node: ref('Node'), job: nullable(ref('Job')) }, ['node', 'job']);
const diskAnswer = objectSchema({ disk: ref('Disk'), job: nullable(ref('Job')) }, ['disk', 'job']);

export function addOperations(app: FastifyInstance, manager: ManagerPort): void {
  addNodeCommands(app, manager);
  addDiskCommands(app, manager);
  addJobCommands(app, manager);
  addBrakeCommand(app, manager);
  addScrubRoute(app, manager);
  addPlannedWork(app, manager);
}

/** No field is known: a body, if there is one, is `{}`. */
const emptyBody = objectSchema({}, []);

function addNodeCommands(app: FastifyInstance, manager: ManagerPort): void {
  const kinds = [
    ['drain', 'drain-node', 'Move all data off a node; it stays until it is activated or gone'],
    ['activate', 'activate-node', 'Let a drained or draining node hold data again'],
    [
      'decommission',
      'decommission-node',
      'Take a node out for good: empty it, destroy its volumes, give its reservations back',
    ],
    ['forget', 'forget-node', 'Your word that the node will never come back: its disks are lost'],
  ] as const;
  for (const [word, kind, summary] of kinds) {
    app.post<{ Params: { node: string } }>(
      `/nodes/:node/${word}`,
      {
        schema: describeRoute('nodes', summary, nodeAnswer, {
          params: pathParameter('node', 'Id (n3) or hostname'),
          body: emptyBody,
        }),
      },
      async (request): Promise<NodeAnswer> => {
        const before = getNode(manager, request.params.node);
        const id = nodeIdOf(before);
        await run(manager, { kind, node: id });
        return { node: manager.node(id) ?? before, job: findStarted(manager, before.id) };
      },
    );
  }
}

function addDiskCommands(app: FastifyInstance, manager: ManagerPort): void {
  const kinds = [
    ['drain', 'drain-disk', 'Move all data off a disk'],
    ['activate', 'activate-disk', 'Let a draining or failed disk hold data again'],
    ['readmit', 'readmit-disk', 'Let a disk that was taken out for its errors hold data again'],
  ] as const;
  for (const [word, kind, summary] of kinds) {
    app.post<{ Params: { disk: string } }>(
      `/disks/:disk/${word}`,
      {
        schema: describeRoute('disks', summary, diskAnswer, {
          params: pathParameter('disk', 'Id (d7) or UUID'),
          body: emptyBody,
        }),
      },
      async (request): Promise<DiskAnswer> => {
        const before = getDisk(manager, request.params.disk);
        await run(manager, { kind, disk: diskIdOf(before) });
        const disk = manager.disks().find((one) => one.id === before.id) ?? before;
        return { disk, job: findStarted(manager, before.id) };
      },
    );
  }
}

function addJobCommands(app: FastifyInstance, manager: ManagerPort): void {
  const kinds = [
    ['cancel', 'cancel-job', 'Cancel a running job'],
    ['pause', 'pause-job', 'Let a change of pools rest: copies that run end, no other begins'],
    ['resume', 'resume-job', 'Let a paused job go on'],
  ] as const;
  for (const [word, kind, summary] of kinds) {
    app.post<{ Params: { job: string } }>(
      `/jobs/:job/${word}`,
      {
        schema: describeRoute('jobs', summary, ref('Job'), {
          params: pathParameter('job', 'Id (j4)'),
          body: emptyBody,
        }),
      },
      async (request) => {
        const job = getJob(manager, request.params.job);
        await run(manager, { kind, job: jobIdOf(job) });
        return getJob(manager, job.id);
      },
    );
  }
}

function addBrakeCommand(app: FastifyInstance, manager: ManagerPort): void {
  app.post(
    '/cluster/brake/release',
    {
      schema: describeRoute(
        'cluster',
        'Your word that what went together will not come back soon: rebuild it now',
        ref('Cluster'),
        { body: emptyBody },
      ),
    },
    async () => {
      await run(manager, { kind: 'release-brake' });
      return manager.cluster();
    },
  );
}

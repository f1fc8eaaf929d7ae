/** Planned work that has routes of its own: replacing a disk, upgrading the executors, uninstalling. */
import type { FastifyInstance } from 'fastify';
import type {
  DiskView,
  JobView,
  UninstallView,
  UpgradeView,
} from '../../shared/model/api-views.ts';
import { UPGRADE_ACTIONS, type UpgradeAction } from '../core/contract.ts';
import { run } from './execution.ts';
import { described, flag, nullable, objectSchema, oneOf, ref, text } from './json-schema.ts';
import type { ManagerPort } from './manager-port.ts';
import { diskIdOf, getDisk } from './references.ts';
import { describeRoute, pathParameter } from './route-schema.ts';

const STARTED: ReadonlySet<JobView['kind']> = new Set(['drain', 'decommission', 'replace']);

/** The work on that node or disk that an operator started and that runs. */
export function findStarted(manager: ManagerPort, subject: string): JobView | null {
  const found = manager
    .jobs()
    .find((job) => STARTED.has(job.kind) && job.state === 'running' && job.subject === subject);
  return found ?? null;
}

export function addPlannedWork(app: FastifyInstance, manager: ManagerPort): void {
  addReplace(app, manager);
  addUpgrade(app, manager);
  addUninstall(app, manager);
}

const replaceBody = objectSchema(
  { with: described(text, 'Only this place may take over: /mnt/b, mount:/mnt/b') },
  [],
);

function addReplace(app: FastifyInstance, manager: ManagerPort): void {
  app.post<{ Params: { disk: string }; Body: { readonly with?: string } | null }>(
    '/disks/:disk/replace',
    {
      schema: describeRoute(
        'disks',
        'Replace a disk by another one of the same node; then give it back to Mesos',
        objectSchema({ disk: ref('Disk'), job: nullable(ref('Job')) }, ['disk', 'job']),
        { params: pathParameter('disk', 'Id (d7) or UUID'), body: replaceBody },
      ),
    },
    async (request): Promise<{ readonly disk: DiskView; readonly job: JobView | null }> => {
      const before = getDisk(manager, request.params.disk);
      const place = request.body?.with ?? null;
      await run(manager, { kind: 'replace-disk', disk: diskIdOf(before), place });
      const disk = manager.disks().find((one) => one.id === before.id) ?? before;
      return { disk, job: findStarted(manager, before.id) };
    },
  );
}

const upgradeBody = objectSchema({ action: oneOf(UPGRADE_ACTIONS) }, ['action']);

function addUpgrade(app: FastifyInstance, manager: ManagerPort): void {
  app.get(
    '/upgrade',
    { schema: describeRoute('cluster', 'Which versions the executors run', ref('Upgrade')) },
    (): UpgradeView => manager.upgrade(),
  );
  app.post<{ Body: { readonly action: UpgradeAction } }>(
    '/upgrade',
    {
      schema: describeRoute(
        'cluster',
        'Upgrade the executors node by node, pause, resume or roll that back',
        ref('Upgrade'),
        { body: upgradeBody },
      ),
    },
    async (request): Promise<UpgradeView> => {
      await run(manager, { kind: 'upgrade', action: request.body.action });
      return manager.upgrade();
    },
  );
}

const uninstallBody = objectSchema(
  {
    name: described(text, "The cluster's name, as your word that you mean this one"),
    isForced: described(flag, 'Although volumes exist, which are destroyed; false when absent'),
  },
  ['name'],
);

function addUninstall(app: FastifyInstance, manager: ManagerPort): void {
  app.get(
    '/uninstall',
    {
      schema: describeRoute(
        'cluster',
        'What giving everything back would do, or how far it is',
        ref('Uninstall'),
      ),
    },
    (): UninstallView => manager.uninstall(),
  );
  app.post<{ Body: { readonly name: string; readonly isForced?: boolean } }>(
    '/uninstall',
    {
      schema: describeRoute(
        'cluster',
        'Destroy all data, give every reservation back, tear the framework down',
        ref('Uninstall'),
        { body: uninstallBody },
      ),
    },
    async (request): Promise<UninstallView> => {
      const { name, isForced = false } = request.body;
      await run(manager, { kind: 'uninstall', name, isForced });
      return manager.uninstall();
    },
  );
}

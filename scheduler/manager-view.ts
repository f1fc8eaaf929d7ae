/** The operator API's view of the leading manager: its views on request, its commands into the inbox. */
import type { ManagerPort } from './api/manager-port.ts';
import { explainAll, explainSubject } from './core/explain/explain.ts';
import { uninstallView } from './core/planned/uninstall.ts';
import { planView } from './core/pools/pool-apply.ts';
import type { Now, State } from './core/state.ts';
import { agentView, agentViews } from './core/views/agent-views.ts';
import { attachmentViews } from './core/views/attachment-views.ts';
import { eventViews, jobViews } from './core/views/job-views.ts';
import { diskViews, nodeView, nodeViews } from './core/views/node-views.ts';
import { upgradeView } from './core/views/upgrade-view.ts';
import { clusterView, pgViews, poolViews } from './core/views/views.ts';
import { volumeViews } from './core/views/volume-views.ts';
import type { Scheduler } from './scheduler.ts';

/** What can be read of any state, led or not. */
export type ManagerViews = Omit<ManagerPort, 'leadership' | 'subscribe' | 'execute'>;

export function createViews(state: State, now: () => Now): ManagerViews {
  return {
    cluster: () => clusterView(state, now()),
    nodes: () => nodeViews(state, now()),
    node: (id) => nodeView(state, id, now()),
    agents: () => agentViews(state, now()),
    agent: (given) => agentView(state, given, now()),
    disks: () => diskViews(state),
    pools: () => poolViews(state),
    plan: (document) => planView(state, document, now()),
    pgs: (filter) => pgViews(state, filter),
    volumes: () => volumeViews(state, now()),
    attachments: () => attachmentViews(state, now()),
    upgrade: () => upgradeView(state, now()),
    uninstall: () => uninstallView(state),
    jobs: () => jobViews(state, now()),
    events: (sinceId, limit) => eventViews(state, sinceId, limit),
    explain: (subject) =>
      subject === null ? explainAll(state, now()) : explainSubject(state, subject, now()),
  };
}

export function createManagerPort(scheduler: Scheduler): ManagerPort {
  return {
    ...createViews(scheduler.state, () => scheduler.now()),
    leadership: () => ({
      isLeading: scheduler.isLeading,
      reason: scheduler.isLeading ? '' : 'this scheduler does not lead any more',
    }),
    subscribe: (listener) => scheduler.subscribe(listener),
    execute: (command) => scheduler.execute(command),
  };
}

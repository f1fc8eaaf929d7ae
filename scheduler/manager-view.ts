/** The operator API's view of the leading manager: its views on request, its commands into the inbox. */
import type { ManagerPort } from './api/manager-port.ts';
import { explainAll, explainSubject } from './core/explain/explain.ts';
import { attachmentViews } from './core/views/attachment-views.ts';
import { eventViews, jobViews } from './core/views/job-views.ts';
import { diskViews, nodeView, nodeViews } from './core/views/node-views.ts';
import { clusterView, pgViews, poolViews } from './core/views/views.ts';
import { volumeViews } from './core/views/volume-views.ts';
import type { Scheduler } from './scheduler.ts';

export function createManagerPort(scheduler: Scheduler): ManagerPort {
  const state = scheduler.state;
  return {
    leadership: () => ({
      isLeading: scheduler.isLeading,
      reason: scheduler.isLeading ? '' : 'this scheduler does not lead any more',
    }),
    cluster: () => clusterView(state, scheduler.now()),
    nodes: () => nodeViews(state, scheduler.now()),
    node: (id) => nodeView(state, id, scheduler.now()),
    disks: () => diskViews(state),
    pools: () => poolViews(state),
    pgs: (filter) => pgViews(state, filter),
    volumes: () => volumeViews(state, scheduler.now()),
    attachments: () => attachmentViews(state, scheduler.now()),
    jobs: () => jobViews(state, scheduler.now()),
    events: (sinceId, limit) => eventViews(state, sinceId, limit),
    explain: (subject) =>
      subject === null
        ? explainAll(state, scheduler.now())
        : explainSubject(state, subject, scheduler.now()),
    subscribe: (listener) => scheduler.subscribe(listener),
    execute: (command) => scheduler.execute(command),
  };
}

/** What Mesos has to do with it: the subscription, and what it said of tasks and agents. */
import { formatDisk, formatNode } from '../../../shared/base/ids.ts';
import type { ObservedTask, TaskLife } from '../mesos/mesos-state.ts';
import { findWindow } from '../planned/maintenance.ts';
import type { DiskRecord, NodeRecord } from '../records.ts';
import {
  causedBy,
  type Explanation,
  type Fact,
  makeExplanation,
  open,
  type Scene,
  toWall,
  WAIT,
} from './explanation.ts';

export function explainMesos({ state, now }: Scene): Explanation | null {
  const { isSubscribed, disconnectReason, disconnectedAtMs } = state.mesos;
  if (isSubscribed) return null;
  return makeExplanation({
    kind: 'mesos',
    subject: 'mesos',
    state: 'disconnected',
    severity: 'degraded',
    message: `Not subscribed at the Mesos master: ${disconnectReason}`,
    sinceMs: toWall(now, disconnectedAtMs),
    causes: [],
    next: 'I/O goes on; disks are claimed and tasks restarted again after the next subscription, which is tried for all the time',
    ...open('it depends on when a leading Mesos master answers'),
    action: 'Nothing here; see that the Mesos masters run and have a leader',
    command: null,
  });
}

/** What Mesos says about the node's executor and tasks, as far as that is not "runs"; the root of most chains. */
export function mesosFacts(scene: Scene, node: NodeRecord): readonly Fact[] {
  const { state, now } = scene;
  const facts: Fact[] = [];
  const window = findWindow(node, now);
  if (window !== null && window.fromMs <= now.wallMs) {
    const until = window.untilMs === null ? 'further notice' : toIso(window.untilMs);
    facts.push({
      subject: formatNode(node.id),
      message: `Its agent is in maintenance in Mesos until ${until}: nothing is started there`,
      sinceMs: window.fromMs,
    });
  }
  const outageSinceMs = node.outageSinceMs ?? null;
  if (outageSinceMs !== null) {
    facts.push({
      subject: formatNode(node.id),
      message:
        'An operator drains its agent in Mesos: a planned outage, so its replicas are waited for longer; it ends when the agent is reactivated',
      sinceMs: outageSinceMs,
    });
  }
  for (const disk of state.facts.disks.values()) {
    if (disk.node !== node.id) continue;
    const fact = findTaskFact(scene, disk);
    // All tasks of a node usually share their fate: one of them tells it.
    if (fact === null) continue;
    facts.push(fact);
    break;
  }
  return [...facts, ...causedBy(explainMesos(scene))];
}

function toIso(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

const LIFE_WORDS: Readonly<Record<TaskLife, string | null>> = {
  unknown: 'was launched before this manager began; Mesos has been asked about it',
  sent: 'was launched; Mesos has not answered yet',
  starting: 'is being started by Mesos',
  alive: null,
  stopping: 'is being stopped',
  away: 'is out of sight of Mesos: it may run or not',
  dead: 'has ended',
};

/** null: Mesos says that the task runs, or there is none. */
export function findTaskFact({ state, now }: Scene, disk: DiskRecord): Fact | null {
  const task = findTask(state.mesos.tasks.get(disk.id), disk);
  if (task === null) return null;
  const words = LIFE_WORDS[task.life];
  if (words === null) return null;
  const said = task.reason === '' ? '' : ` (${task.reason})`;
  return {
    subject: formatDisk(disk.id),
    message: `The Mesos task of ${formatDisk(disk.id)} ${words}${said}`,
    sinceMs: toWall(now, task.sinceMs),
  };
}

/** When the tasks of a node are launched again after a failure; null when nothing holds them back. */
export function relaunchAtMs({ state, now }: Scene, node: NodeRecord): number | null {
  const retryAtMs = state.mesos.hosts.get(node.id)?.retryAtMs;
  if (retryAtMs === undefined || retryAtMs <= now.ms) return null;
  return toWall(now, retryAtMs);
}

/** What to do when tasks end again and again. */
export function sandboxAdvice(
  { state }: Scene,
  node: NodeRecord,
): { readonly action: string; readonly command: string | null } {
  const failures = state.mesos.hosts.get(node.id)?.failures ?? 0;
  if (failures < 3) return WAIT;
  return {
    action: `It failed ${failures} times in a row: read stderr in the executor's sandbox on ${node.hostname}, and the events`,
    command: 'cistern events --limit 50',
  };
}

function findTask(task: ObservedTask | undefined, disk: DiskRecord): ObservedTask | null {
  return task !== undefined && task.taskId === disk.taskId ? task : null;
}

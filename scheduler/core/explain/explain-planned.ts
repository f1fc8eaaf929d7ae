/** What planned work waits for: nodes that are taken out, disks that are replaced, upgrades, the uninstall. */
import { formatDisk, formatJob, formatNode } from '../../../shared/base/ids.ts';
import { describeDecommission } from '../planned/decommission.ts';
import { describeReplacement, isUnreplaced } from '../planned/disk-replace.ts';
import { activeUpgrade, targetOf } from '../planned/executor-version.ts';
import { describeUninstall } from '../planned/uninstall.ts';
import { describeUpgrade } from '../planned/upgrade.ts';
import type { JobRecord } from '../records.ts';
import { explainMesos } from './explain-mesos.ts';
import {
  causedBy,
  type Explanation,
  type Fact,
  type Outlook,
  open,
  type Scene,
  WAIT,
} from './explanation.ts';

type Explained = Pick<Explanation, 'severity' | 'causes' | 'message'> & Outlook;

function title(job: JobRecord): string {
  return `${formatJob(job.id)} (${job.kind} ${job.subject})`;
}

/** What the job waits for, as one sentence; then why there are no offers, when there are none. */
function causesOf(scene: Scene, job: JobRecord, what: string): readonly Fact[] {
  const fact: Fact = {
    subject: formatJob(job.id),
    message: `${what.charAt(0).toUpperCase()}${what.slice(1)}`,
    sinceMs: null,
  };
  return [fact, ...causedBy(explainMesos(scene))];
}

export function explainDecommission(scene: Scene, job: JobRecord): Explained {
  const { state } = scene;
  const node = [...state.facts.nodes.values()].find(({ id }) => formatNode(id) === job.subject);
  const what =
    node === undefined ? 'there is no such node any more' : describeDecommission(state, node);
  return {
    severity: 'notice',
    message: `${title(job)} has ${job.movesTotal - job.movesDone} of ${job.movesTotal} steps left: ${what}`,
    causes: causesOf(scene, job, what),
    next: 'The node is emptied, its volumes are destroyed and its reservations given back, then it is gone',
    ...open('copying takes as long as its limits allow, and Mesos has to offer what is given back'),
    action: 'Nothing, wait; if its agent never comes back, forget the node',
    command: null,
  };
}

export function explainReplace(scene: Scene, job: JobRecord): Explained {
  const { state } = scene;
  const disk = [...state.facts.disks.values()].find(({ id }) => formatDisk(id) === job.subject);
  const what = disk === undefined ? 'the old disk is gone' : describeReplacement(state, disk);
  const isMissing = disk !== undefined && isUnreplaced(disk);
  return {
    severity: 'notice',
    message: `${title(job)} has ${job.movesTotal - job.movesDone} of ${job.movesTotal} steps left: ${what}`,
    causes: causesOf(scene, job, what),
    next: 'When another disk of the node serves and this one is empty, this one is given back to Mesos',
    ...open('it depends on when Mesos offers a disk that fits, and on copying'),
    ...(isMissing
      ? {
          action: 'See why no disk of the node was taken, or cancel the job to keep the old one',
          command: `cistern explain ${disk === undefined ? '' : formatNode(disk.node)}`.trim(),
        }
      : WAIT),
  };
}

export function explainUpgrade(scene: Scene, job: JobRecord): Explained {
  const { state, now } = scene;
  const upgrade = activeUpgrade(state);
  const what = describeUpgrade(state, now);
  const left = job.movesTotal - job.movesDone;
  const isHeld = upgrade !== null && upgrade.phase !== 'running';
  const target = upgrade === null ? '' : ` to ${targetOf(upgrade).version}`;
  const base = {
    severity: upgrade?.phase === 'stopped' ? 'degraded' : 'notice',
    message: `${title(job)}${target} is ${upgrade?.phase ?? 'over'} with ${left} of ${job.movesTotal} nodes left: ${what}`,
    causes: causesOf(scene, job, what),
  } as const;
  if (!isHeld) {
    return {
      ...base,
      next: 'One node after the other is restarted, each when everything is whole again',
      ...open(
        'it depends on how long executors start, and on how long their data takes to be whole',
      ),
      action: 'Nothing, wait; it can be paused or rolled back',
      command: 'cistern upgrade pause',
    };
  }
  return {
    ...base,
    next: 'No other node is touched',
    ...open('an operator says how it goes on'),
    action: 'Resume it when the cause is gone, or go back to the version before',
    command: 'cistern upgrade resume',
  };
}

export function explainUninstall(scene: Scene, job: JobRecord): Explained {
  const what = describeUninstall(scene.state);
  return {
    severity: 'notice',
    message: `${title(job)} runs: ${what}`,
    causes: causesOf(scene, job, what),
    next: 'Everything is given back to Mesos; the framework is torn down last',
    ...open('Mesos has to offer what is given back'),
    action:
      'Nothing, wait; agents that are away hold it up: bring them back, or forget their nodes',
    command: 'cistern uninstall --plan',
  };
}

/** Why a disk does not serve, what is done about it, and when. */
import { formatDisk, formatNode } from '../../../shared/base/ids.ts';
import { formatBytes, formatDuration } from '../../../shared/base/units.ts';
import type { DiskView } from '../../../shared/model/api-views.ts';
import { isBraked } from '../brake.ts';
import { GROW_MS_MAX, isGrowing } from '../capacity/growth.ts';
import { diskUse, rebuildWaitMs } from '../disks/disk-use.ts';
import { awaitedOwner, describeForeign } from '../disks/foreign-data.ts';
import { memberCount } from '../members/members.ts';
import { isTrusted } from '../members/trust.ts';
import { CLAIM_MS_MAX } from '../mesos/task-upkeep.ts';
import { isDiskServing } from '../nodes/node-life.ts';
import { isEmpty, isEvacuating } from '../planned/maintenance.ts';
import { isHeldBack } from '../pools/apply-state.ts';
import type { DiskRecord, NodeRecord } from '../records.ts';
import { explainMesos, findTaskFact, relaunchAtMs, sandboxAdvice } from './explain-mesos.ts';
import { explainNode } from './explain-node.ts';
import {
  causedBy,
  deadline,
  type Explanation,
  type Fact,
  makeExplanation,
  type Outlook,
  open,
  type Scene,
  toWall,
  WAIT,
} from './explanation.ts';

interface DiskSubject {
  readonly scene: Scene;
  readonly disk: DiskRecord;
  readonly node: NodeRecord;
}

type Explained = Pick<Explanation, 'severity' | 'causes' | 'message'> & Outlook;

/** Every phase that a disk's view may show; a new one does not compile without its explanation. */
export const DISK_PHASES: Readonly<
  Record<DiskView['state'], (subject: DiskSubject) => Explained | null>
> = {
  claiming: explainClaiming,
  launched: explainLaunched,
  serving: explainServing,
  down: explainDown,
  failed: explainFailed,
  releasing: explainReleasing,
  lost: explainLost,
};

/** null: the disk serves, and may go on doing so. */
export function explainDisk(scene: Scene, disk: DiskRecord): Explanation | null {
  const known = scene.disks.get(disk.id);
  if (known !== undefined) return known;
  const subject = { scene, disk, node: scene.state.facts.nodes.get(disk.node) };
  const isStopped = isGrowing(disk) && STOPPED_TO_GROW.has(disk.phase);
  const explained = isStopped ? explainGrowing(subject) : DISK_PHASES[disk.phase](subject);
  const explanation =
    explained === null
      ? null
      : makeExplanation({
          kind: 'disk',
          subject: formatDisk(disk.id),
          state: disk.phase,
          sinceMs: disk.phaseSinceMs,
          ...explained,
        });
  scene.disks.set(disk.id, explanation);
  return explanation;
}

function describe({ disk, node }: DiskSubject): string {
  return `${formatDisk(disk.id)} on ${formatNode(node.id)} (${node.hostname})`;
}

/** The node's own trouble, else what Mesos says of the task. */
function chain(subject: DiskSubject): readonly Fact[] {
  const { scene, disk, node } = subject;
  const ofNode = explainNode(scene, node);
  if (ofNode !== null && ofNode.severity !== 'notice') return causedBy(ofNode);
  const task = findTaskFact(scene, disk);
  return [...(task === null ? [] : [task]), ...causedBy(ofNode), ...causedBy(explainMesos(scene))];
}

function explainClaiming(subject: DiskSubject): Explained {
  const { scene, disk } = subject;
  const sinceMs = toWall(scene.now, scene.state.mesos.claimSinceMs.get(disk.id));
  return {
    severity: 'notice',
    message: `${describe(subject)} is being claimed from Mesos`,
    causes: chain(subject),
    next: 'Mesos accepts the claim and starts its task, or the claim is given back',
    ...(sinceMs === null
      ? open('Mesos has to offer the disk first')
      : deadline(
          sinceMs + CLAIM_MS_MAX,
          scene.now,
          'its task has been launched: it is waited for',
        )),
    ...WAIT,
  };
}

function explainLaunched(subject: DiskSubject): Explained {
  const { scene, node } = subject;
  return {
    severity: 'notice',
    message: `${describe(subject)} is not open yet: its task was launched`,
    causes: chain(subject),
    next: 'Its executor starts, opens the store and reports it',
    ...open('a store that was not closed cleanly is checked first, which takes seconds to minutes'),
    ...sandboxAdvice(scene, node),
  };
}

function explainServing(subject: DiskSubject): Explained | null {
  const { scene, disk, node } = subject;
  const { state, now } = scene;
  if (disk.isDraining) return explainDraining(subject);
  if ((disk.out ?? null) !== null) return explainOut(subject);
  const unselected = disk.unselected ?? null;
  if (unselected !== null) return explainUnselected(subject, unselected.reason, unselected.to);
  if (!isDiskServing(state, disk)) {
    const ofNode = explainNode(scene, node);
    if (ofNode === null) return null;
    return {
      severity: ofNode.severity,
      message: `${describe(subject)} is out of reach: its node is ${ofNode.state}`,
      causes: causedBy(ofNode),
      ...outlookOf(ofNode),
    };
  }
  if (isTrusted(state, disk, now.ms)) return null;
  const ofNode = explainNode(scene, node);
  const distrust = state.work.distrust.get(disk.id);
  if (distrust === undefined || now.ms >= distrust.untilMs) {
    // Its node is what is not trusted, and says so itself.
    if (ofNode === null) return null;
    return {
      severity: 'notice',
      message: `${describe(subject)} serves, but gets no new replicas for a while`,
      causes: causedBy(ofNode),
      ...outlookOf(ofNode),
    };
  }
  return {
    severity: 'notice',
    message: `${describe(subject)} serves, but gets no new replicas for a while: a gateway could not use it`,
    causes: [],
    next: `It is asked back after ${formatDuration(distrust.pauseMs)}; each further failure doubles the pause`,
    ...deadline(toWall(now, distrust.untilMs) ?? now.wallMs, now, 'it is due at this moment'),
    action: 'Nothing, wait; if it comes again, look at the network and the disk of that node',
    command: `cistern disk show ${formatDisk(disk.id)}`,
  };
}

/** Taken out for its errors: it is emptied first, and then kept visible. */
function explainOut(subject: DiskSubject): Explained {
  const { scene, disk } = subject;
  const { state, now } = scene;
  const left = memberCount(state, disk.id);
  const afterMs = state.options.diskReadmitAfterMs ?? null;
  const out = disk.out ?? { sinceMs: now.wallMs, reason: '' };
  return {
    severity: 'degraded',
    message: `${describe(subject)} was taken out: ${out.reason}`,
    causes: [
      {
        subject: formatDisk(disk.id),
        message: `It was taken out because ${out.reason}`,
        sinceMs: out.sinceMs,
      },
    ],
    next:
      left > 0
        ? `Its ${left} replicas move to other disks; it serves them until then, and stays empty afterwards`
        : 'It is empty and stays so, visible here, until it is readmitted or given back',
    ...(afterMs === null
      ? open(
          'it stays out until an operator readmits it (cistern disk readmit) or gives it back (cistern disk drain)',
        )
      : deadline(out.sinceMs + afterMs, now, 'it is readmitted at the next look')),
    action: 'Test the device, and replace it; if it is sound after all, readmit it',
    command: `cistern disk readmit ${formatDisk(disk.id)}`,
  };
}

function explainDraining(subject: DiskSubject): Explained {
  const { scene, disk } = subject;
  const left = memberCount(scene.state, disk.id);
  return {
    severity: 'notice',
    message: `${describe(subject)} is being drained: ${left} replicas are still to move`,
    causes: (scene.state.work.explanations.get(disk.pool) ?? []).map((message) => ({
      subject: disk.pool,
      message,
      sinceMs: null,
    })),
    next: 'Its replicas move to other disks; then it is given back to Mesos',
    ...open('it takes as long as copying does; its job has the estimate'),
    action: 'Nothing, wait; the drain can be called off',
    command: `cistern disk activate ${formatDisk(disk.id)}`,
  };
}

/** In the others something else is the matter. */
const STOPPED_TO_GROW: ReadonlySet<DiskView['state']> = new Set(['serving', 'down', 'launched']);

function explainGrowing(subject: DiskSubject): Explained {
  const { addBytes = 0, sinceMs = 0, reason = '' } = subject.disk.growth ?? {};
  return {
    severity: 'notice',
    message: `${describe(subject)} is stopped for a moment to grow by ${formatBytes(addBytes)}: ${reason}`,
    causes: chain(subject),
    next: 'Its volume grows with one of the next offers, and it is started again',
    ...deadline(sinceMs + GROW_MS_MAX, subject.scene.now, 'it is started again as it was'),
    ...WAIT,
  };
}

function explainDown(subject: DiskSubject): Explained {
  const { scene, disk, node } = subject;
  const { state, now } = scene;
  const causes = chain(subject);
  const ofNode = explainNode(scene, node);
  const message = `${describe(subject)} is down: ${disk.error || 'its store is not open'}`;
  const isPlanned = node.admin === 'active' && isEvacuating(node) && isEmpty(state, node);
  if (ofNode !== null && (ofNode.severity !== 'notice' || isPlanned)) {
    return { severity: ofNode.severity, message, causes, ...outlookOf(ofNode) };
  }
  const awaySinceMs = state.work.diskAwaySinceMs.get(disk.id);
  const rebuildAtMs = toWall(now, (awaySinceMs ?? now.ms) + rebuildWaitMs(state, disk.node));
  const retryAtMs = relaunchAtMs(scene, node);
  const advice = sandboxAdvice(scene, node);
  if (retryAtMs !== null) {
    return {
      severity: 'degraded',
      message,
      causes,
      next: 'Its task is started again on the same volume',
      ...deadline(retryAtMs, now, 'it is due at the next offer'),
      ...advice,
    };
  }
  if (isBraked(state)) {
    return {
      severity: 'degraded',
      message,
      causes,
      next: 'Its store is opened again; until then its place is kept, since too much is away at once',
      ...open('the brake on mass failure holds (cistern explain brake)'),
      ...advice,
    };
  }
  if (diskUse(state, disk) === 'leaving' || rebuildAtMs === null) {
    return {
      severity: 'degraded',
      message,
      causes,
      next: 'Its replicas are rebuilt on other disks; it may come back at any time',
      ...open('it ends when its store opens again, or the disk is drained'),
      action: 'If the device is dead, give it up: what it held is rebuilt elsewhere',
      command: `cistern disk drain ${formatDisk(disk.id)}`,
    };
  }
  return {
    severity: 'degraded',
    message,
    causes,
    next: 'Its store is opened again; if that takes too long, its replicas are rebuilt on other disks',
    ...deadline(rebuildAtMs, now, 'the rebuild is due at this moment'),
    ...advice,
  };
}

function explainFailed(subject: DiskSubject): Explained {
  const { disk } = subject;
  if ((disk.foreign ?? null) !== null) return explainForeign(subject);
  return {
    severity: 'degraded',
    message: `${formatDisk(disk.id)} on ${formatNode(disk.node)} was taken out: ${disk.error}`,
    causes: [],
    next: 'Its replicas are rebuilt on other disks; replace the device, then drain or activate the disk',
    ...open('it stays out until an operator brings it back or gives it up'),
    action: 'When the device was repaired, or the error was a passing one, try it again',
    command: `cistern disk activate ${formatDisk(disk.id)}`,
  };
}

function explainForeign(subject: DiskSubject): Explained {
  const { scene, disk } = subject;
  const owner = awaitedOwner(scene.state, disk);
  if (owner !== null) {
    const name = formatDisk(owner.id);
    return {
      severity: 'degraded',
      message: `${describe(subject)} holds the data of ${name}: ${describeForeign(scene.state, disk)}`,
      causes: [],
      next: `${name} goes on here with its data once it is certain that ${formatNode(owner.node)} does not serve it`,
      ...open(`it waits until the lease of ${formatNode(owner.node)} has certainly run out`),
      action: `When you know that the executor of ${formatNode(owner.node)} is dead, forget that node: what was found here is not lost with it`,
      command: `cistern node forget ${formatNode(owner.node)}`,
    };
  }
  return {
    severity: 'degraded',
    message: `${describe(subject)} cannot be used: ${describeForeign(scene.state, disk)}`,
    causes: [],
    next: 'Nothing in it is touched; its volume stays reserved, since Mesos would delete what is in it',
    ...open('it stays so until an operator empties the directory or brings the right disk'),
    action: 'Look into the directory; when it is empty, try the disk again',
    command: `cistern disk activate ${formatDisk(disk.id)}`,
  };
}

/** Its pool does not select it any more. */
function explainUnselected(subject: DiskSubject, reason: string, to: string | null): Explained {
  const { scene, disk } = subject;
  const left = memberCount(scene.state, disk.id);
  const goal = to === null ? 'it is given back to Mesos' : `it goes to pool "${to}"`;
  const isHeld = isHeldBack(scene.state, disk);
  return {
    severity: 'notice',
    message: `${describe(subject)} leaves pool "${disk.pool}": ${reason}`,
    causes: [],
    next: isHeld
      ? `It keeps its ${left} replicas until it is its node's turn; then they move, and ${goal}`
      : `Its ${left} replicas move to other disks, then ${goal}`,
    ...open('nodes are emptied one after the other, and the job may be paused'),
    ...WAIT,
  };
}

function explainReleasing(subject: DiskSubject): Explained {
  return {
    severity: 'notice',
    message: `${describe(subject)} is empty and is being given back to Mesos`,
    causes: causedBy(explainMesos(subject.scene)),
    next: 'Its task ends, its volume is destroyed, its reservation is returned',
    ...open('Mesos has to offer its resources for that'),
    ...WAIT,
  };
}

function explainLost(subject: DiskSubject): Explained {
  const { disk } = subject;
  return {
    severity: 'notice',
    message: `${describe(subject)} is lost: ${disk.error || 'its node is gone'}`,
    causes: causedBy(explainNode(subject.scene, subject.node)),
    next: 'It leaves the list once no placement group names it any more',
    ...open('its replicas have to be rebuilt from others first; the rebuild job has the estimate'),
    ...WAIT,
  };
}

function outlookOf({ next, byMs, noDeadline, action, command }: Outlook): Outlook {
  return { next, byMs, noDeadline, action, command };
}

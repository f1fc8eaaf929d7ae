/** Why a node is not up, what becomes of it and of its replicas, and when. */
import { formatNode } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import { isBraked } from '../brake.ts';
import { rebuildWaitMs } from '../disks/disk-use.ts';
import { isNodeMapped } from '../map.ts';
import { describeNode } from '../members/sessions.ts';
import { findWindow, isEmpty, isEvacuating } from '../planned/maintenance.ts';
import type { NodeRecord } from '../records.ts';
import { mesosFacts, relaunchAtMs, sandboxAdvice } from './explain-mesos.ts';
import {
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
import { type NodeWord, nodeState } from './node-state.ts';

interface NodeSubject {
  readonly scene: Scene;
  readonly node: NodeRecord;
  readonly reason: string;
}

type Explained = Pick<Explanation, 'severity' | 'causes' | 'sinceMs'> & Outlook;

/** Every word that a node's view may have; a new one does not compile without its explanation. */
export const NODE_WORDS: Readonly<
  Record<NodeWord, 'green' | ((subject: NodeSubject) => Explained)>
> = {
  up: 'green',
  starting: explainStarting,
  down: explainDown,
  fenced: explainFenced,
  draining: explainDraining,
  drained: explainDrained,
  gone: explainGone,
};

/** null: the node is up and may hold data. */
export function explainNode(scene: Scene, node: NodeRecord): Explanation | null {
  const known = scene.nodes.get(node.id);
  if (known !== undefined) return known;
  const explanation = makeNodeExplanation(scene, node);
  scene.nodes.set(node.id, explanation);
  return explanation;
}

function makeNodeExplanation(scene: Scene, node: NodeRecord): Explanation | null {
  const { word, reason } = nodeState(scene.state, node, scene.now);
  const explain = NODE_WORDS[word];
  if (explain === 'green') return explainDistrust(scene, node);
  const message = `${describeNode(node)} is ${word}: ${uncapitalize(reason)}`;
  return makeExplanation({
    kind: 'node',
    subject: formatNode(node.id),
    state: word,
    message,
    ...explain({ scene, node, reason }),
  });
}

/** It is up, but came and went so often that its disks get no new replicas for a while. */
function explainDistrust({ state, now }: Scene, node: NodeRecord): Explanation | null {
  const distrust = state.work.nodeDistrust.get(node.id);
  if (distrust === undefined || now.ms >= distrust.untilMs) return null;
  return makeExplanation({
    kind: 'node',
    subject: formatNode(node.id),
    state: 'up',
    severity: 'notice',
    message: `${describeNode(node)} is up, but was lost ${distrust.failures} times lately`,
    sinceMs: toWall(now, distrust.lastAtMs),
    causes: [],
    next: 'Its disks serve what they have; they take new replicas again after a pause, which doubles with each further loss',
    ...deadline(toWall(now, distrust.untilMs) ?? now.wallMs, now, 'it is due at this moment'),
    action: `Nothing, wait; if it goes on, look at the network and the power of ${node.hostname}`,
    command: 'cistern events --limit 50',
  });
}

function explainStarting({ scene, node }: NodeSubject): Explained {
  const { now, state } = scene;
  const observed = state.nodes.get(node.id);
  const base = { severity: 'notice', causes: mesosFacts(scene, node) } as const;
  if (isNodeMapped(node) && observed !== undefined && observed.session !== null) {
    return {
      ...base,
      sinceMs: toWall(now, observed.lastReportAtMs),
      next: 'Its executor reports, and it is up; if it does not, it is shut out',
      ...deadline(
        (toWall(now, observed.lastReportAtMs) ?? now.wallMs) + state.options.silentMs,
        now,
        'it is shut out at the next look',
      ),
      ...WAIT,
    };
  }
  const retryAtMs = relaunchAtMs(scene, node);
  return {
    ...base,
    sinceMs: node.joinedAtMs,
    next:
      retryAtMs === null
        ? 'Mesos starts its executor, which opens its disks and says hello'
        : 'Mesos is asked again to start its executor',
    ...(retryAtMs === null
      ? open('it depends on how long the agent fetches and starts the executor')
      : deadline(retryAtMs, now, 'it is asked at the next offer')),
    ...sandboxAdvice(scene, node),
  };
}

function explainDown(subjectOf: NodeSubject): Explained {
  const { scene, node } = subjectOf;
  const { state, now } = scene;
  // Empty and expected to be away: nobody misses it.
  if (node.admin === 'active' && isEvacuating(node) && isEmpty(state, node)) {
    return explainEvacuation(subjectOf);
  }
  const awaySinceMs = state.nodes.get(node.id)?.awaySinceMs ?? null;
  return {
    severity: 'degraded',
    sinceMs: toWall(now, awaySinceMs),
    causes: [...silenceFact({ scene, node, reason: '' }), ...mesosFacts(scene, node)],
    ...rebuildOutlook(scene, node),
  };
}

/** What becomes of the replicas of a node that is away. */
function rebuildOutlook(scene: Scene, node: NodeRecord): Outlook {
  const { state, now } = scene;
  const subject = formatNode(node.id);
  const awaySinceMs = state.nodes.get(node.id)?.awaySinceMs ?? now.ms;
  const leftMs = rebuildWaitMs(state, node.id) - (now.ms - awaySinceMs);
  const retryAtMs = relaunchAtMs(scene, node);
  if (isBraked(state)) {
    return {
      next: 'Its replicas are not rebuilt elsewhere for now, since too much is away at once; when it comes back it joins again',
      ...open('the brake on mass failure holds (cistern explain brake)'),
      action: `See whether ${node.hostname} runs and reaches the scheduler; coming back is always safe`,
      command: 'cistern explain brake',
    };
  }
  if (leftMs > 0) {
    const start =
      retryAtMs === null
        ? ''
        : `; its tasks are started again in ${formatDuration(retryAtMs - now.wallMs)}`;
    return {
      next: `Its replicas are rebuilt on other nodes in ${formatDuration(leftMs)} unless it comes back${start}`,
      ...deadline(now.wallMs + leftMs, now, 'it is due at this moment'),
      action: `See whether ${node.hostname} runs and reaches the scheduler; coming back is always safe`,
      command: null,
    };
  }
  return {
    next: 'Its replicas are rebuilt on other nodes; forget the node if it never comes back',
    ...open(
      'it ends when the node comes back or is forgotten; the rebuild job has its own estimate',
    ),
    action: `If ${node.hostname} will never come back, say so: its disks then count as lost`,
    command: `cistern node forget ${subject}`,
  };
}

function explainFenced({ scene, node, reason }: NodeSubject): Explained {
  const { state, now } = scene;
  const observed = state.nodes.get(node.id);
  const leaseEndMs = toWall(now, observed?.leaseEndsAtMs);
  return {
    severity: 'degraded',
    sinceMs: toWall(now, observed?.awaySinceMs),
    causes: [...silenceFact({ scene, node, reason }), ...mesosFacts(scene, node)],
    next: 'Its replicas are left out as soon as its lease has certainly run out, and I/O goes on without them',
    ...(leaseEndMs === null
      ? open(
          'so many executors have to confirm first that they grant it no lease that the rest are no majority',
        )
      : deadline(leaseEndMs, now, 'it is due at this moment')),
    ...WAIT,
  };
}

/** What a maintenance window does with the node; nothing has to be done, and nothing can be called off here. */
function explainEvacuation({ scene, node }: NodeSubject): Explained {
  const window = findWindow(node, scene.now);
  const untilMs = window?.untilMs ?? null;
  const base = {
    severity: 'notice',
    sinceMs: node.evacuation?.sinceMs ?? null,
    causes: mesosFacts(scene, node),
    next: 'It is kept empty until its maintenance is over; then its disks take data again by themselves',
    action: 'Nothing, wait; a change of the schedule in Mesos changes it here as well',
    command: null,
  } as const;
  return {
    ...base,
    ...(untilMs === null
      ? open('Mesos names no end of the maintenance')
      : deadline(untilMs, scene.now, 'it is due at this moment')),
  };
}

function explainDraining(subjectOf: NodeSubject): Explained {
  const { scene, node } = subjectOf;
  if (node.admin === 'active') return explainEvacuation(subjectOf);
  const { state } = scene;
  const subject = formatNode(node.id);
  const job = [...state.facts.jobs.values()].find(
    (one) => one.phase === 'running' && one.kind === 'drain' && one.subject === subject,
  );
  return {
    severity: 'notice',
    sinceMs: job?.startedAtMs ?? null,
    causes: [],
    next: 'Its replicas move to other nodes; then it is drained',
    ...open('it takes as long as copying does; its job has the estimate'),
    action: 'Nothing, wait; the drain can be called off',
    command: `cistern node activate ${subject}`,
  };
}

function explainDrained(subjectOf: NodeSubject): Explained {
  const { node } = subjectOf;
  if (node.admin === 'active') return explainEvacuation(subjectOf);
  return {
    severity: 'notice',
    sinceMs: null,
    causes: [],
    next: 'It stays empty',
    ...open('an operator drained it, and an operator says what becomes of it'),
    action: 'Take it out, or let it hold data again',
    command: `cistern node activate ${formatNode(node.id)}`,
  };
}

function explainGone({ node }: NodeSubject): Explained {
  const subject = formatNode(node.id);
  return {
    severity: 'notice',
    sinceMs: null,
    causes: [],
    next: `Nothing: ${subject} stays on the list as forgotten`,
    ...open('this is for good; its host may join again as a new node'),
    action: 'Nothing',
    command: null,
  };
}

/** Since when it was not heard, when that says more than the message. */
function silenceFact({ scene, node }: NodeSubject): readonly Fact[] {
  const { state, now } = scene;
  const observed = state.nodes.get(node.id);
  if (observed === undefined) return [];
  const heardMs = toWall(now, observed.lastReportAtMs);
  const subject = formatNode(node.id);
  const facts: Fact[] = [];
  if (heardMs === null) {
    const message = `This manager has led for ${formatDuration(now.ms - state.startedAtMs)} and never heard the executor of ${subject}`;
    facts.push({ subject, message, sinceMs: toWall(now, state.startedAtMs) });
  } else if (observed.executor !== 'dead') {
    const link = observed.session === null ? 'its control session ended' : 'nothing comes over it';
    const message = `The last report of ${subject} came ${formatDuration(now.ms - observed.lastReportAtMs)} ago; ${link}`;
    facts.push({ subject, message, sinceMs: heardMs });
  }
  return facts;
}

/** Inside a sentence; names keep their capital. */
function uncapitalize(reason: string): string {
  return reason.startsWith('Mesos') ? reason : reason.charAt(0).toLowerCase() + reason.slice(1);
}

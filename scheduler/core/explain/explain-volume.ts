/** Why a volume does not serve, or not yet: its attachment, its gateway, and the placement groups below. */
import { formatNode, formatVolume } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import type { AttachmentView, VolumeView } from '../../../shared/model/api-views.ts';
import { findRunningJob } from '../jobs/jobs.ts';
import { isNodeUp } from '../nodes/node-life.ts';
import type { NodeRecord, PgFamilyRecord, VolumeRecord } from '../records.ts';
import type { State } from '../state.ts';
import { attachmentView, volumeState } from '../views/attachment-views.ts';
import { explainNode } from './explain-node.ts';
import { explainPgGroups } from './explain-pg.ts';
import { explainRoom } from './explain-pool.ts';
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

interface VolumeSubject {
  readonly scene: Scene;
  readonly volume: VolumeRecord;
  readonly attachment: AttachmentView | null;
  readonly node: NodeRecord | undefined;
}

type Explained = Pick<Explanation, 'severity' | 'causes' | 'message' | 'sinceMs'> & Outlook;
type Explain = (subject: VolumeSubject) => Explained;

/** Every word that an attachment's view may have. */
export const ATTACHMENT_WORDS: Readonly<Record<AttachmentView['state'], 'green' | Explain>> = {
  serving: 'green',
  waiting: explainWaiting,
  opening: explainOpening,
  paused: explainPaused,
  closing: explainClosing,
};

/** Every word that a volume's view may have; `attachment`: its attachment's word decides. */
export const VOLUME_WORDS: Readonly<Record<VolumeView['state'], 'green' | 'attachment' | Explain>> =
  {
    ready: 'green',
    attached: 'attachment',
    attaching: 'attachment',
    detaching: explainClosing,
    deleting: explainDeleting,
  };

/** Everything about one volume, worst first; empty when all is green. */
export function explainVolume(scene: Scene, volume: VolumeRecord): readonly Explanation[] {
  const attachment = attachmentView(scene.state, volume, scene.now);
  const own = explainAttachment(scene, volume, attachment);
  const groups = explainPgGroups(scene, familiesOfVolume(scene.state, volume), {
    kind: 'volume',
    subject: formatVolume(volume.id),
    name: volume.name,
  });
  const pool = scene.state.facts.pools.find(volume.pool);
  const room = pool === undefined ? [] : explainRoom(scene, pool);
  return [...(own === null ? [] : [own]), ...groups, ...room];
}

/** The volume's own state and its attachment's; null when it serves, or is simply not attached. */
export function explainAttachment(
  scene: Scene,
  volume: VolumeRecord,
  attachment: AttachmentView | null,
): Explanation | null {
  const word = volumeState(volume, attachment);
  const ofVolume = VOLUME_WORDS[word];
  const explain =
    ofVolume === 'attachment' && attachment !== null
      ? ATTACHMENT_WORDS[attachment.state]
      : ofVolume;
  if (explain === 'green' || explain === 'attachment') return null;
  const isOwn = ofVolume !== 'attachment' || attachment === null;
  const node =
    volume.attachedTo === null ? undefined : scene.state.facts.nodes.find(volume.attachedTo);
  return makeExplanation({
    kind: 'volume',
    subject: formatVolume(volume.id),
    state: isOwn ? word : attachment.state,
    ...explain({ scene, volume, attachment, node }),
  });
}

export function familiesOfVolume(state: State, volume: VolumeRecord): readonly PgFamilyRecord[] {
  return [...state.facts.families.values()].filter((one) => one.pgBase === volume.pgBase);
}

function title({ volume }: VolumeSubject): string {
  return `Volume "${volume.name}"`;
}

/** Since the event that attached it, as long as that is kept. */
function attachedSinceMs({ scene, volume }: VolumeSubject): number | null {
  const { events, cluster } = scene.state.facts;
  const subject = formatVolume(volume.id);
  for (let id = cluster.nextEvent - 1; id > 0; id -= 1) {
    const event = events.find(id);
    if (event === undefined) return null;
    if (event.subject === subject && event.kind === 'volume.attached') return event.atMs;
  }
  return null;
}

function nodeCauses({ scene, node }: VolumeSubject): readonly Fact[] {
  return node === undefined ? [] : causedBy(explainNode(scene, node));
}

function groupCauses({ scene, volume }: VolumeSubject): readonly Fact[] {
  const groups = explainPgGroups(scene, familiesOfVolume(scene.state, volume), {
    kind: 'volume',
    subject: formatVolume(volume.id),
    name: volume.name,
  });
  return groups.filter((group) => group.severity !== 'notice').flatMap(causedBy);
}

function explainWaiting(subject: VolumeSubject): Explained {
  const where = subject.attachment?.node ?? 'its node';
  return {
    severity: 'notice',
    message: `${title(subject)} is attached to ${where}, which has not opened it yet`,
    sinceMs: attachedSinceMs(subject),
    causes: nodeCauses(subject),
    next: 'The node takes the new map with its next lease and opens the volume; if it goes away instead, the volume can be attached elsewhere',
    ...open('usually a second; an executor that does not answer is shut out first'),
    ...WAIT,
  };
}

function explainOpening(subject: VolumeSubject): Explained {
  const reason = subject.attachment?.reason ?? '';
  return {
    severity: 'notice',
    message: `${title(subject)} is being opened by ${subject.attachment?.node ?? 'its node'}${reason === '' ? '' : `: ${reason}`}`,
    sinceMs: attachedSinceMs(subject),
    causes: groupCauses(subject),
    next: 'Every in-sync replica accepts the new generation, or is removed; then it serves',
    ...open('a replica that does not answer is removed once its node certainly serves nothing'),
    ...WAIT,
  };
}

function explainPaused(subject: VolumeSubject): Explained {
  const { scene, node, attachment, volume } = subject;
  if (node !== undefined && isNodeUp(scene.state, node)) return explainPausedGateway(subject);
  const ofNode = node === undefined ? null : explainNode(scene, node);
  const where = attachment?.node ?? 'its node';
  const leaseEndMs =
    node === undefined ? null : toWall(scene.now, scene.state.nodes.get(node.id)?.leaseEndsAtMs);
  const isFree = ofNode !== null && ofNode.state === 'down';
  const waiting = attachWaiting(subject);
  return {
    severity: 'critical',
    message: `${title(subject)} does not serve: ${where} is out of reach`,
    sinceMs: ofNode?.sinceMs ?? null,
    causes: [...waiting, ...causedBy(ofNode)],
    next: isFree
      ? 'It serves again when its node is back; it may be attached to another node at once'
      : 'It may be attached to another node once the lease of its node has certainly run out',
    ...(isFree || leaseEndMs === null
      ? open(
          isFree
            ? 'it depends on when the node is back, or on where its user goes on'
            : 'enough executors have to confirm first that they grant the node no lease',
        )
      : deadline(leaseEndMs, scene.now, 'it is due at this moment')),
    ...(waiting.length > 0
      ? WAIT
      : {
          action: 'Attach it to another node; the attach waits until that is safe',
          command: `cistern volume attach ${volume.name}`,
        }),
  };
}

/** An attach elsewhere that has been asked for and waits until the node certainly serves nothing. */
function attachWaiting({ scene, volume }: VolumeSubject): readonly Fact[] {
  const pending = scene.state.work.pending.find(
    (one) => one.volume === volume.id && one.kind === 'attach',
  );
  if (pending === undefined) return [];
  const to = pending.node === null ? 'another node' : formatNode(pending.node);
  const leftMs = Math.max(0, pending.deadlineMs - scene.now.ms);
  const message = `An attach to ${to} waits until its old node certainly serves nothing, for ${formatDuration(leftMs)} more at most`;
  return [
    {
      subject: formatVolume(volume.id),
      message,
      sinceMs: toWall(scene.now, pending.sinceMs),
    },
  ];
}

/** Its node lives: the gateway says why, and the placement groups below it say more. */
function explainPausedGateway(subject: VolumeSubject): Explained {
  const causes = groupCauses(subject);
  return {
    severity: 'critical',
    message: `${title(subject)} waits: ${subject.attachment?.reason || 'its gateway says no reason'}`,
    sinceMs: null,
    causes,
    next: 'Requests are queued and go on when what its gateway waits for is there',
    ...open(
      causes.length === 0
        ? 'it depends on what its gateway waits for; members that do not answer are removed within seconds'
        : 'it depends on the placement groups below',
    ),
    ...WAIT,
  };
}

function explainClosing(subject: VolumeSubject): Explained {
  const { scene, volume, node } = subject;
  const pending = scene.state.work.pending.find((one) => one.volume === volume.id);
  const isUp = node !== undefined && isNodeUp(scene.state, node);
  const clients = subject.attachment?.clientCount ?? 0;
  const ofClients = clients === 0 ? '' : `; ${clients} clients are connected`;
  return {
    severity: 'notice',
    message: `${title(subject)} is being detached from ${subject.attachment?.node ?? 'its node'}${ofClients}`,
    sinceMs: null,
    causes: nodeCauses(subject),
    next: isUp
      ? 'Its gateway writes out what it holds and closes; then it is detached'
      : 'It is detached once its node certainly serves nothing',
    ...open(
      pending === undefined
        ? 'a detach that has begun goes on until it is done'
        : `the caller is answered in ${formatDuration(Math.max(0, pending.deadlineMs - scene.now.ms))} at the latest; the detach goes on after that`,
    ),
    action: `Nothing, wait; if ${node === undefined ? 'its node' : formatNode(node.id)} is dead for certain, say so`,
    command: isUp ? null : `cistern volume detach ${volume.name} --force`,
  };
}

function explainDeleting(subject: VolumeSubject): Explained {
  const { scene, volume } = subject;
  const job = findRunningJob(scene.state, 'delete', formatVolume(volume.id));
  const away = [...scene.state.facts.nodes.values()].filter(
    (node) => node.admin !== 'gone' && !isNodeUp(scene.state, node),
  );
  return {
    severity: 'notice',
    message: `${title(subject)} was deleted; its space comes back`,
    sinceMs: job?.startedAtMs ?? null,
    causes: away.flatMap((node) => causedBy(explainNode(scene, node))),
    next: 'Executors free its extents; then it leaves the list',
    ...open(
      away.length === 0
        ? 'it takes as long as freeing does; its job counts the bytes'
        : 'nodes that are away free their part when they are back',
    ),
    ...WAIT,
  };
}

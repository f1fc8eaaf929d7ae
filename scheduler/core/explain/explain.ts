/**
 * `cistern explain`: everything that is not green, or one subject, with its chain of causes, what happens
 * next by itself, and the one safe thing to do. Health (health.ts) is made of the same explanations.
 */
import { parseDisk, parseJob, parseNode, parsePg, parseVolume } from '../../../shared/base/ids.ts';
import type { ExplainView } from '../../../shared/model/explanation-view.ts';
import type { VolumeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { attachmentView } from '../views/attachment-views.ts';
import { explainBadBlocks } from './explain-blocks.ts';
import { explainBrake } from './explain-brake.ts';
import { explainDisk } from './explain-disk.ts';
import { explainJob } from './explain-job.ts';
import { explainMesos } from './explain-mesos.ts';
import { explainNode } from './explain-node.ts';
import { explainPg } from './explain-pg.ts';
import { explainPool } from './explain-pool.ts';
import { explainStore } from './explain-store.ts';
import { explainAttachment, explainVolume } from './explain-volume.ts';
import { createScene, type Explanation, explanationView, type Scene } from './explanation.ts';

/** More nobody reads at once; the rest is counted. */
export const EXPLANATIONS_MAX = 200;

/** Everything that is not green, worst first. Volumes only wait for what is explained before them. */
export function explainCluster(scene: Scene): readonly Explanation[] {
  const { facts } = scene.state;
  const found: (Explanation | null)[] = [
    explainStore(scene),
    explainMesos(scene),
    explainBrake(scene),
  ];
  for (const pool of facts.pools.values()) found.push(...explainPool(scene, pool));
  for (const node of facts.nodes.values()) {
    // Forgotten for good: there is nothing left to explain unless somebody asks for it.
    if (node.admin !== 'gone') found.push(explainNode(scene, node));
  }
  for (const disk of facts.disks.values()) {
    // A node that is away explains all of its disks.
    const node = explainNode(scene, facts.nodes.get(disk.node));
    if (node === null || node.severity === 'notice') found.push(explainDisk(scene, disk));
  }
  found.push(...explainBadBlocks(scene));
  return found.filter((one) => one !== null);
}

export function explainAll(state: State, now: Now): ExplainView {
  const scene = createScene(state, now);
  const { facts } = state;
  const found = [...explainCluster(scene)];
  for (const volume of facts.volumes.values()) {
    const own = explainAttachment(scene, volume, attachmentView(state, volume, now));
    if (own !== null) found.push(own);
  }
  for (const job of facts.jobs.values()) {
    const explanation = job.phase === 'running' ? explainJob(scene, job) : null;
    if (explanation !== null) found.push(explanation);
  }
  return view(null, found, now);
}

/** By id (`n3`, `d7`, `pg12`, `v5`, `j4`, `mesos`) or name (volume, pool, host); null: there is no such thing. */
export function explainSubject(state: State, subject: string, now: Now): ExplainView | null {
  const scene = createScene(state, now);
  const found = findSubject(scene, subject);
  return found === null ? null : view(subject, found, now);
}

function view(subject: string | null, found: readonly Explanation[], now: Now): ExplainView {
  const ordered = worstFirst(found);
  return {
    at: new Date(now.wallMs).toISOString(),
    subject,
    explanations: ordered.slice(0, EXPLANATIONS_MAX).map(explanationView),
    omittedCount: Math.max(0, ordered.length - EXPLANATIONS_MAX),
  };
}

export function worstFirst(found: readonly Explanation[]): readonly Explanation[] {
  const of = (severity: Explanation['severity']): readonly Explanation[] =>
    found.filter((one) => one.severity === severity);
  return [...of('critical'), ...of('degraded'), ...of('notice')];
}

function findSubject(scene: Scene, subject: string): readonly Explanation[] | null {
  if (subject === 'mesos') return listed(explainMesos(scene));
  if (subject === 'store') return listed(explainStore(scene));
  if (subject === 'brake') return listed(explainBrake(scene));
  const byId = findById(scene, subject);
  if (byId !== null) return byId;
  const byName = findByName(scene, subject);
  return byName.length > 0 ? byName.flat() : null;
}

/** Volumes and pools may share a name: then both are meant. */
function findByName(scene: Scene, name: string): readonly (readonly Explanation[])[] {
  const { facts } = scene.state;
  const found: (readonly Explanation[])[] = [];
  for (const volume of facts.volumes.values()) {
    if (volume.name === name) found.push(aboutVolume(scene, volume));
  }
  const pool = facts.pools.find(name);
  if (pool !== undefined) found.push(explainPool(scene, pool));
  for (const node of facts.nodes.values()) {
    if (node.hostname === name) found.push(listed(explainNode(scene, node)));
  }
  return found;
}

function findById(scene: Scene, subject: string): readonly Explanation[] | null {
  const { facts } = scene.state;
  const volume = find(parseVolume(subject), (id) => facts.volumes.find(id));
  if (volume !== undefined) return aboutVolume(scene, volume);
  const node = find(parseNode(subject), (id) => facts.nodes.find(id));
  if (node !== undefined) return listed(explainNode(scene, node));
  const disk = find(parseDisk(subject), (id) => facts.disks.find(id));
  if (disk !== undefined) {
    const bad = explainBadBlocks(scene, (range) => range.disk === disk.id);
    return [...listed(explainDisk(scene, disk)), ...bad];
  }
  const pg = find(parsePg(subject), (id) => facts.pgs.find(id));
  if (pg !== undefined) {
    const bad = explainBadBlocks(scene, (range) => range.pg === pg.id);
    return [...listed(explainPg(scene, pg.id)), ...bad];
  }
  const job = find(parseJob(subject), (id) => facts.jobs.find(id));
  return job === undefined ? null : listed(explainJob(scene, job));
}

function aboutVolume(scene: Scene, volume: VolumeRecord): readonly Explanation[] {
  const bad = explainBadBlocks(scene, (range) => range.volume === volume.id);
  return [...explainVolume(scene, volume), ...bad];
}

function find<Id, Row>(id: Id | null, look: (id: Id) => Row | undefined): Row | undefined {
  return id === null ? undefined : look(id);
}

function listed(explanation: Explanation | null): readonly Explanation[] {
  return explanation === null ? [] : [explanation];
}

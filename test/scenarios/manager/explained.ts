/**
 * Whatever is not green in any view has an explanation: finds the states without one. Which words are green
 * is read from the tables that the explanations are made from, so a new word cannot be forgotten here.
 */

import { explainAll, explainSubject } from '../../../scheduler/core/explain/explain.ts';
import { JOB_PHASES } from '../../../scheduler/core/explain/explain-job.ts';
import { NODE_WORDS } from '../../../scheduler/core/explain/explain-node.ts';
import { PG_WORDS } from '../../../scheduler/core/explain/explain-pg.ts';
import { roomWord } from '../../../scheduler/core/explain/explain-pool.ts';
import { ATTACHMENT_WORDS, VOLUME_WORDS } from '../../../scheduler/core/explain/explain-volume.ts';
import type { Now, State } from '../../../scheduler/core/state.ts';
import { attachmentViews } from '../../../scheduler/core/views/attachment-views.ts';
import { jobViews } from '../../../scheduler/core/views/job-views.ts';
import { diskViews, nodeViews } from '../../../scheduler/core/views/node-views.ts';
import { clusterView, pgViews, poolViews } from '../../../scheduler/core/views/views.ts';
import { volumeViews } from '../../../scheduler/core/views/volume-views.ts';
import type { ExplanationView } from '../../../shared/model/explanation-view.ts';

/** A deadline may lie as far back as the manager looks at things. */
const LATE_MS = 1500;

/** Complaints; empty when everything that is not green is explained. */
export function findUnexplained(state: State, now: Now): string[] {
  const complaints: string[] = [];
  for (const { subject, word } of notGreen(state, now)) {
    const answer = explainSubject(state, subject, now);
    const found = answer?.explanations ?? [];
    if (found.length === 0) complaints.push(`${subject} is ${word}: no explanation`);
    for (const explanation of found) complaints.push(...judge(explanation, now));
  }
  const all = explainAll(state, now);
  for (const explanation of all.explanations) complaints.push(...judge(explanation, now));
  const { health, reasons } = clusterView(state, now);
  // An attachment that waits is the health of its volume, not of the cluster.
  const worst = all.explanations.find(
    (one) => one.kind !== 'job' && (one.kind !== 'volume' || one.state.startsWith('blocks-')),
  );
  const isTold = worst !== undefined && worst.severity !== 'notice';
  if ((health !== 'ok') !== isTold || (health !== 'ok') !== reasons.length > 0) {
    complaints.push(`health is ${health}, but the worst explanation is ${worst?.severity}`);
  }
  return complaints;
}

function* notGreen(
  state: State,
  now: Now,
): Generator<{ readonly subject: string; readonly word: string }> {
  for (const node of nodeViews(state, now)) {
    if (NODE_WORDS[node.state] !== 'green') yield { subject: node.id, word: node.state };
  }
  for (const disk of diskViews(state)) {
    if (disk.state !== 'serving') yield { subject: disk.id, word: disk.state };
    else if (disk.isDraining) yield { subject: disk.id, word: 'draining' };
  }
  for (const pg of pgViews(state, {})) {
    if (PG_WORDS[pg.state] !== 'green') yield { subject: pg.id, word: pg.state };
  }
  for (const pool of poolViews(state)) {
    if (roomWord(pool) !== 'roomy') yield { subject: pool.name, word: roomWord(pool) };
    if (pool.pgs.clean < pool.pgs.total) yield { subject: pool.name, word: 'not clean' };
  }
  for (const volume of volumeViews(state, now)) {
    const isOwn = VOLUME_WORDS[volume.state] !== 'green';
    if (isOwn && VOLUME_WORDS[volume.state] !== 'attachment') {
      yield { subject: volume.id, word: volume.state };
    }
    if (volume.health !== 'ok') yield { subject: volume.id, word: volume.health };
  }
  for (const attachment of attachmentViews(state, now)) {
    if (ATTACHMENT_WORDS[attachment.state] === 'green') continue;
    yield { subject: attachment.volume, word: attachment.state };
  }
  for (const job of jobViews(state, now)) {
    if (JOB_PHASES[job.state] !== 'green') yield { subject: job.id, word: job.state };
  }
  if (!state.mesos.isSubscribed) yield { subject: 'mesos', word: 'disconnected' };
}

function judge(one: ExplanationView, now: Now): string[] {
  const complaints: string[] = [];
  const name = `${one.subject} (${one.state}: ${one.message})`;
  if (one.message === '' || one.next === '' || one.action === '') complaints.push(`${name}: empty`);
  if (one.by === null && one.noDeadline === '') complaints.push(`${name}: no word on the deadline`);
  if (one.by !== null && Date.parse(one.by) < now.wallMs - LATE_MS) {
    complaints.push(`${name}: the deadline ${one.by} has passed`);
  }
  const texts = [one.message, one.next, one.noDeadline, one.action, one.command ?? ''];
  for (const text of [...texts, ...one.causes.map((cause) => cause.message)]) {
    if (/undefined|NaN|Infinity|null/.test(text)) complaints.push(`${name}: "${text}"`);
  }
  return complaints;
}

/**
 * Notices of nodes become events, each once. A node reports its last few again and again; what has been
 * taken is remembered per node by source and number, and an event says which notice it was made from,
 * so that a manager that starts knows it too. A node with more findings than a person would read gets
 * one event with their number instead; its own log has them all.
 */
import {
  formatDisk,
  formatNode,
  formatPg,
  formatVolume,
  type NodeId,
} from '../../shared/base/ids.ts';
import type { NodeReport, Notice } from '../../shared/model/node-report.ts';
import { keepEvent } from './events.ts';
import type { Now, State } from './state.ts';
import type { NoticesSeen } from './work.ts';

/** Events of one node in one minute: a disk that rots must not push out what others have to say. */
const EVENTS_PER_MINUTE = 30;
const MINUTE_MS = 60_000;

export function takeNotices(state: State, node: NodeId, report: NodeReport, now: Now): void {
  const { noticeSource, notices } = report;
  if (noticeSource === '') return;
  const seen = seenOf(state, node, noticeSource);
  if (now.ms - seen.minuteSinceMs >= MINUTE_MS) beginMinute(state, node, seen, now);
  for (const notice of notices) {
    if (notice.sequence <= seen.sequence) continue;
    // Pushed out between two reports: it can only be counted.
    seen.untold += notice.sequence - seen.sequence - 1;
    seen.sequence = notice.sequence;
    if (seen.recordedInMinute >= EVENTS_PER_MINUTE) {
      seen.untold += 1;
      continue;
    }
    seen.recordedInMinute += 1;
    keepEvent(state, {
      atMs: now.wallMs - notice.ageMs,
      severity: notice.severity,
      kind: notice.kind,
      message: notice.text,
      subject: subjectOf(node, notice),
      origin: { node, source: noticeSource, sequence: notice.sequence },
    });
  }
}

/** At the start of a term: what earlier managers have made events of. */
export function restoreNotices(state: State): void {
  for (const { origin } of state.facts.events.values()) {
    if (origin === undefined) continue;
    const seen = seenOf(state, origin.node, origin.source);
    seen.sequence = Math.max(seen.sequence, origin.sequence);
  }
}

function seenOf(state: State, node: NodeId, source: string): NoticesSeen {
  const known = state.work.notices.get(node);
  if (known !== undefined) {
    if (known.source !== source) {
      known.source = source;
      known.sequence = 0;
    }
    return known;
  }
  const created: NoticesSeen = {
    source,
    sequence: 0,
    minuteSinceMs: Number.NEGATIVE_INFINITY,
    recordedInMinute: 0,
    untold: 0,
  };
  state.work.notices.set(node, created);
  return created;
}

function beginMinute(state: State, node: NodeId, seen: NoticesSeen, now: Now): void {
  if (seen.untold > 0) {
    keepEvent(state, {
      atMs: now.wallMs,
      severity: 'warning',
      kind: 'node.notices',
      message: `${formatNode(node)} had ${seen.untold} more findings than are told one by one: its log has them`,
      subject: formatNode(node),
      origin: { node, source: seen.source, sequence: seen.sequence },
    });
  }
  seen.minuteSinceMs = now.ms;
  seen.recordedInMinute = 0;
  seen.untold = 0;
}

/** The most particular thing that an operator can look at. */
function subjectOf(node: NodeId, notice: Notice): string {
  if (notice.disk !== null) return formatDisk(notice.disk);
  if (notice.volume !== null) return formatVolume(notice.volume);
  if (notice.pg !== null) return formatPg(notice.pg);
  return formatNode(node);
}

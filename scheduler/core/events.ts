/**
 * Events for operators: one sentence each about what changed and why. A bounded ring in the store; the
 * same event is not repeated within a while, so that a flapping part does not push out the rest.
 */
import type { EventRecord, EventSeverity } from './records.ts';
import type { Now, State } from './state.ts';

/** What is kept in the store: days of a normal cluster, and one small load at the start of a term. */
export const EVENTS_MAX = 2000;
/** The same event (kind, subject, message) is recorded at most once in this time. */
const REPEAT_AFTER_MS = 60_000;
/** Bound of the memory for repeats; it is emptied of old entries when it is reached. */
const RECENT_MAX = 4096;

export interface NewEvent {
  readonly severity: EventSeverity;
  /** `node.down`, `disk.failed`: noun, dot, what happened. */
  readonly kind: string;
  /** One sentence for a person, with the reason. */
  readonly message: string;
  /** `n3`, `d7`, `v5`, `pg12`, a pool's name, or `cluster`. */
  readonly subject: string;
}

/** Records an event unless the same one was recorded just before. */
export function recordEvent(state: State, event: NewEvent, now: Now): void {
  const { work } = state;
  const key = `${event.kind} ${event.subject} ${event.message}`;
  const last = work.recentEvents.get(key);
  if (last !== undefined && now.ms - last < REPEAT_AFTER_MS) return;
  if (work.recentEvents.size >= RECENT_MAX) forgetOld(work.recentEvents, now.ms);
  work.recentEvents.set(key, now.ms);
  keepEvent(state, { atMs: now.wallMs, ...event });
}

/** Records an event whatever was recorded before. */
export function keepEvent(state: State, event: Omit<EventRecord, 'id'>): void {
  const id = state.facts.allocate('nextEvent');
  state.facts.events.put({ id, ...event });
  state.facts.events.delete(id - EVENTS_MAX);
}

function forgetOld(recent: Map<string, number>, nowMs: number): void {
  for (const [key, atMs] of recent) if (nowMs - atMs >= REPEAT_AFTER_MS) recent.delete(key);
  // All of them recent: a flood of different events; start over rather than grow.
  if (recent.size >= RECENT_MAX) recent.clear();
}

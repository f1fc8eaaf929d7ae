/**
 * Compares what the stand-in answered with what the real Mesos did: status and headers of each answer,
 * the fields of each kind of message, and what each event says that a framework acts on.
 */

import { expect } from 'chai';
import type { ExecutorLine } from './executor-replay.ts';
import { recordedExchanges } from './recordings.ts';
import type { Played, Stream } from './replay.ts';
import { type Answer, type Json, keyOf, pick } from './replayed-exchange.ts';

/**
 * A field of the unversioned AgentInfo that our schema does not have on purpose (see the proto file): nobody
 * acts on it.
 */
const NOT_IN_OUR_SCHEMA = /(agent_info|recovered_agents\[\])\.checkpoint$/;

/** Paths of all fields that are set, lists without their length. */
export function shapeOf(value: unknown, at = '', found: Set<string> = new Set()): Set<string> {
  if (Array.isArray(value)) {
    for (const item of value) shapeOf(item, `${at}[]`, found);
    return found;
  }
  if (typeof value !== 'object' || value === null) {
    if (!NOT_IN_OUR_SCHEMA.test(at)) found.add(at);
    return found;
  }
  const entries = Object.entries(value);
  const isEmptyList = (item: unknown) => Array.isArray(item) && item.length === 0;
  if (entries.every(([, item]) => isEmptyList(item))) found.add(`${at}{}`);
  for (const [key, item] of entries) shapeOf(item, at === '' ? key : `${at}.${key}`, found);
  return found;
}

/** The fields that a framework acts on. */
function essence(event: Json): Json {
  const update = pick(event, 'update', 'status');
  const operation = pick(event, 'update_operation_status', 'status');
  const status = update ?? operation;
  return {
    key: keyOf(event),
    message: shortMessage(pick(status, 'message') ?? pick(event, 'error', 'message')),
    source: pick(status, 'source'),
    reason: pick(status, 'reason'),
    healthy: pick(status, 'healthy'),
    hasUuid: pick(status, 'uuid') !== undefined,
    hasAgent: (pick(status, 'agent_id') ?? pick(event, 'failure', 'agent_id')) !== undefined,
    executor: pick(status, 'executor_id', 'value'),
    hasContainer: pick(status, 'container_status') !== undefined,
    hasUnreachableTime: pick(status, 'unreachable_time') !== undefined,
    text: pick(event, 'message', 'data'),
  };
}

/** Lists of resources come in any order, and some messages carry details of the machine. */
function shortMessage(message: unknown): unknown {
  if (typeof message !== 'string') return message;
  return message
    .replace(/^.* does not contain /s, '… does not contain ')
    .replace(/ is more than available .*$/s, ' is more than available …')
    .replace(/\n.*$/s, '')
    .replace(/ at slave\(1\)@\S+ /, ' at … ')
    .replace(/container '[^']*': exited with status 1.*$/, 'container …')
    .replace(/1e\+20|100000000000000000000/, '10^20');
}

const SAYING = new Set([
  'UPDATE',
  'UPDATE_OPERATION_STATUS',
  'FAILURE',
  'ERROR',
  'SUBSCRIBED',
  'MESSAGE',
]);

/** Said when the clock, or free resources, ask for it: how often is a matter of milliseconds. */
const BY_THE_WAY = new Set(['HEARTBEAT', 'OFFERS', 'RESCIND']);

export type Comparison = {
  /** Keys of events (parts of them) that depend on milliseconds. */
  readonly ignored?: readonly string[];
};

export function compareAnswers(answers: readonly Answer[]): void {
  for (const answer of answers) {
    const { name, recorded, given, recordedHeaders, givenHeaders } = answer;
    const where = `${name} ("${JSON.stringify(answer.givenBody).slice(0, 200)}")`;
    expect(given, `status of ${where}`).to.equal(recorded);
    const ours = { ...givenHeaders };
    // The address differs, the form does not.
    const location = (text: string | undefined) => text?.replace(/^\/\/[^/]+/, '//host:port');
    if (ours['location'] !== undefined) {
      expect(ours['location'], where).to.match(/^\/\/[^/:]+:\d+/);
      expect(location(ours['location']), where).to.equal(location(recordedHeaders['location']));
      delete ours['location'];
    }
    const { location: _, ...theirs } = recordedHeaders;
    expect(ours, `headers of ${where}`).to.deep.equal(theirs);
    compareBodies(where, answer.recordedBody, answer.givenBody);
  }
}

function compareBodies(where: string, recorded: unknown, given: unknown): void {
  if (typeof recorded === 'string' || typeof given === 'string') {
    expect(typeof given === 'string' && given !== '', `text of ${where}`).to.equal(
      typeof recorded === 'string' && recorded !== '',
    );
    return;
  }
  expect([...shapeOf(given)].sort(), `fields of ${where}`).to.deep.equal(
    [...shapeOf(recorded)].sort(),
  );
}

export function compareStream(name: string, stream: Stream, comparison: Comparison = {}): void {
  const isMeant = (event: Json) =>
    !(comparison.ignored ?? []).some((one) => keyOf(event).includes(one));
  const said = (events: readonly Json[]) =>
    [
      ...new Set(
        events
          .filter((one) => SAYING.has(String(one['type'])) && isMeant(one))
          .map((one) => JSON.stringify(essence(one))),
      ),
    ].sort();
  // Resent ones may come more or less often: what counts is that the same things were said.
  expect(said(stream.given).join('\n'), `said by ${name}`).to.equal(
    said(stream.recorded).join('\n'),
  );
  const types = (events: readonly Json[]) =>
    [...new Set(events.map((one) => String(one['type'])))]
      .filter((type) => !BY_THE_WAY.has(type))
      .sort();
  expect(types(stream.given), `types of ${name}`).to.deep.equal(types(stream.recorded));
  compareFields(name, stream, isMeant);
}

/** Per kind of event (type, state, reason), the same fields are set. */
function compareFields(name: string, stream: Stream, isMeant: (event: Json) => boolean): void {
  const ours = fieldsByKind(stream.given.filter(isMeant));
  for (const [kind, fields] of fieldsByKind(stream.recorded.filter(isMeant))) {
    const given = ours.get(kind);
    if (given === undefined) continue;
    if (kind === OFFERS_KIND) {
      compareOffers(name, fields, given);
      continue;
    }
    expect([...given].sort().join('\n'), `fields of ${kind} in ${name}`).to.equal(
      [...fields].sort().join('\n'),
    );
  }
}

const OFFERS_KIND = JSON.stringify(['OFFERS', undefined, undefined, undefined]);
let knownOfferFields: Set<string> | undefined;

/**
 * Which resources are free at the moment of an offer is a matter of milliseconds: what an offer says besides
 * must be the same, and of resources it says nothing that no recorded offer says.
 */
function compareOffers(name: string, recorded: Set<string>, given: Set<string>): void {
  knownOfferFields ??= fieldsByKind(
    recordedExchanges().flatMap(({ events }) => [...(events ?? [])]),
  ).get(OFFERS_KIND);
  const besides = (fields: Set<string>) =>
    [...fields].filter((field) => !field.includes('.resources[]')).sort();
  // Windows and running executors come and go, too.
  const isPassing = (field: string) => /unavailability|executor_ids/.test(field);
  const lasting = (fields: Set<string>) => besides(fields).filter((field) => !isPassing(field));
  expect(lasting(given).join('\n'), `offers of ${name}`).to.equal(lasting(recorded).join('\n'));
  const strange = [...given].filter((field) => knownOfferFields?.has(field) !== true);
  expect(strange, `fields of offers of ${name}`).to.deep.equal([]);
}

function fieldsByKind(events: readonly Json[]): Map<string, Set<string>> {
  const kinds = new Map<string, Set<string>>();
  for (const event of events) {
    const status =
      pick(event, 'update', 'status') ?? pick(event, 'update_operation_status', 'status');
    const kind = JSON.stringify([
      event['type'],
      pick(status, 'state'),
      pick(status, 'source'),
      pick(status, 'reason'),
    ]);
    const fields = kinds.get(kind) ?? new Set();
    kinds.set(kind, shapeOf(event, '', fields));
  }
  return kinds;
}

export function comparePlayed(played: Played, comparison: Comparison = {}): string[] {
  const isMeant = (text: string) => !(comparison.ignored ?? []).some((one) => text.includes(one));
  expect(played.missing.filter(isMeant), 'did not come').to.deep.equal([]);
  compareAnswers(played.answers);
  for (const [name, { recorded, given }] of played.streams) {
    const ours = JSON.parse(played.translation.toRecorded(JSON.stringify(given))) as Json[];
    compareStream(name, { recorded, given: ours }, comparison);
  }
  return played.answers.map(({ name }) => name);
}

/** What a replaying executor wrote; returns the names of the compared exchanges. */
export function compareExecutor(
  lines: readonly ExecutorLine[],
  toRecorded: (text: string) => string,
  comparison: Comparison = {},
): string[] {
  const answers = lines.flatMap((line) => (line.kind === 'answer' ? [line.answer] : []));
  const missing = lines.flatMap((line) => (line.kind === 'missing' ? [line.what] : []));
  expect(missing, 'did not come to the executor').to.deep.equal([]);
  compareAnswers(answers);
  for (const line of lines) {
    if (line.kind === 'environment') compareEnvironment(line.recorded, line.given);
    if (line.kind !== 'stream') continue;
    const given = lines.flatMap((one) =>
      one.kind === 'event' && one.name === line.name ? [one.event] : [],
    );
    const ours = JSON.parse(toRecorded(JSON.stringify(given))) as Json[];
    compareStream(line.name, { recorded: line.recorded, given: ours }, comparison);
  }
  return answers.map(({ name }) => name);
}

/** Surprise 33: nothing of the agent's own environment but PATH. */
function compareEnvironment(
  recorded: Readonly<Record<string, string>>,
  given: Readonly<Record<string, string | undefined>>,
): void {
  // `sh` adds these by itself.
  const own = new Set(['_', 'SHLVL', 'OLDPWD']);
  const names = (all: object) =>
    Object.keys(all)
      .filter((name) => !own.has(name))
      .sort();
  expect(names(given), 'environment of the executor').to.deep.equal(names(recorded));
  for (const [name, value] of Object.entries(recorded)) {
    if (/PATH|PWD|ENDPOINT|PID|DIRECTORY|SANDBOX/.test(name)) continue;
    expect(given[name], `variable ${name}`).to.equal(value);
  }
}

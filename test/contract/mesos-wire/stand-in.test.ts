/**
 * The stand-in against recordings of a real Mesos: the same requests must get the same status
 * codes, the same refusals and the same events.
 */

import { copyFileSync, mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { AgentSpec } from '../../../dev/mesos/agent-spec.ts';
import { EXECUTOR_FILE } from '../../integration/mesos/operations.ts';
import { closeStandIns, startStandIn } from '../../integration/mesos/stand-in-fixture.ts';
import { hasRecordings, recordedExchanges, WHY_SKIPPED } from './recordings.ts';
import { type Json, keyOf, type Played, pick, Replay } from './replay.ts';

const TIME_SCALE = 10;

/** Recorded clusters used /mnt/disk1…6 or, on the second machine, /mnt/disk7…12. */
async function play(scenario: string, skip: readonly string[] = []): Promise<Played> {
  const directory = mkdtempSync(join(tmpdir(), 'mesos-replay-'));
  const text = JSON.stringify(recordedExchanges(scenario).map((one) => one.events ?? []));
  const first = /\/mnt\/disk(?:7|8|9|10|11|12)"/.test(text) ? 7 : 1;
  mkdirSync(join(directory, 'srv'), { recursive: true });
  copyFileSync(EXECUTOR_FILE, join(directory, 'srv', 'executor'));
  const standIn = await startStandIn([agent(directory, 1, first), agent(directory, 2, first + 3)], {
    directory,
    timeScale: TIME_SCALE,
    region: 'r1',
    zone: 'z1',
  });
  return new Replay({
    scenario,
    masterUrl: standIn.masterUrl,
    timeScale: TIME_SCALE,
    translations: [
      ['/mnt/disk', `${directory}/mnt/disk`],
      ['/srv/cistern/', `${directory}/srv/`],
    ],
    skip,
  }).run();
}

function agent(directory: string, number: number, disk: number): AgentSpec {
  const path = (index: number) => join(directory, 'mnt', `disk${disk + index}`);
  return {
    name: `agent${number}`,
    hostname: `agent${number}.example`,
    ip: `127.0.0.${number}`,
    region: 'r1',
    zone: `z${number}`,
    attributes: { rack: `r${number}`, tier: 'ssd', gen: number },
    cpus: 4,
    mem: 2048,
    ports: { begin: 31000, end: 31099 },
    disks: [
      { kind: 'root', sizeMb: 1024 },
      { kind: 'path', sizeMb: 1000, path: path(0) },
      { kind: 'mount', sizeMb: 250, path: path(1) },
      { kind: 'mount', sizeMb: 250, path: path(2) },
    ],
  };
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

const COMPARED = new Set(['UPDATE', 'UPDATE_OPERATION_STATUS', 'FAILURE', 'ERROR', 'SUBSCRIBED']);

function check(played: Played, ignored: readonly string[] = []): void {
  for (const { name, recorded, given, body } of played.statuses) {
    expect(given, `status of ${name} ("${body}")`).to.equal(recorded);
  }
  const isMeant = (text: string) => !ignored.some((one) => text.includes(one));
  expect(played.missing.filter(isMeant)).to.deep.equal([]);
  for (const [folder, { recorded, given }] of played.streams) {
    const ours = JSON.parse(played.toRecorded(JSON.stringify(given))) as Json[];
    const essences = (events: readonly Json[]) =>
      events
        .filter((one) => COMPARED.has(String(one['type'])) && isMeant(keyOf(one)))
        .map((one) => JSON.stringify(essence(one)))
        .sort();
    // Resent ones may come more or less often: what counts is that the same things were said.
    const said = [...new Set(essences(ours))].join('\n');
    expect(said, folder).to.equal([...new Set(essences(recorded))].join('\n'));
  }
}

describe('stand-in: the recorded scenarios', function () {
  this.timeout(180_000);

  before(function () {
    if (hasRecordings()) return;
    console.warn(`      skipped: ${WHY_SKIPPED}`);
    this.skip();
  });
  afterEach(closeStandIns);

  for (const form of ['json', 'protobuf']) {
    it(`s1: subscribe, decline, suppress, revive, teardown (${form})`, async () => {
      check(await play(`s1-subscribe-${form}`));
    });

    it(`s2: reserve, create, launch, second task, kill, shutdown (${form})`, async () => {
      check(await play(`s2-launch-${form}`));
    });

    it(`s3: refusals (${form})`, async () => {
      check(await play(`s3-refusals-${form}`, ['16-']));
    });

    it(`s5: failover, disconnection, removed and invented ids (${form})`, async () => {
      check(await play(`s5-failover-${form}`));
    });

    it(`s7a: maintenance (${form})`, async () => {
      check(await play(`s7a-maintenance-${form}`));
    });

    it(`s7b: drain, reactivate, mark gone, deactivate (${form})`, async () => {
      check(await play(`s7b-drain-${form}`));
    });

    it(`s8: reconciliation, messages, task ends (${form})`, async () => {
      // Whether node-3 had started when the KILL came is a matter of milliseconds.
      check(await play(`s8-tasks-${form}`), ['node-3']);
    });

    it(`s9: grow, shrink, destroy, unreserve, feedback (${form})`, async () => {
      check(await play(`s9-volumes-${form}`));
    });
  }
});

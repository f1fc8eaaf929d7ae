/**
 * Brings a stand-in into the states of the recorded scenarios: the same agents and disks, and what the
 * operator did to the recorded cluster (killed, stopped or wiped something), done at the same points.
 */

import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentSpec } from '../../../dev/mesos/agent-spec.ts';
import { MesosStandIn, type StandInOptions } from '../../../dev/mesos/cluster.ts';
import { EXECUTOR_FILE } from '../../integration/mesos/operations.ts';
import { type Comparison, compareExecutor, comparePlayed } from './comparison.ts';
import type { ExecutorLine, ExecutorReplayConfig } from './executor-replay.ts';
import { RECORDINGS, recordedExchanges } from './recordings.ts';
import { Replay } from './replay.ts';
import { sleep } from './replayed-exchange.ts';
import type { Entry } from './timeline.ts';
import { Translation } from './translation.ts';

/** What is done to the stand-in at a point of the timeline: before that entry is played. */
export type Script = (cluster: RecordedCluster, entry: Entry) => void | Promise<void>;

export type RecordedCluster = {
  readonly standIn: MesosStandIn;
  /** Other masters, by recorded port. */
  readonly masters: Map<string, string>;
  /** Processes that an agent has forgotten; ended after the replay. */
  readonly orphans: number[];
};

export type ScenarioOptions = Comparison & {
  readonly timeScale?: number;
  readonly standIn?: Partial<StandInOptions>;
  readonly script?: Script;
};

const TIME_SCALE = 10;

/** Plays and compares a scenario; returns the names of the exchanges that were compared. */
export async function playScenario(
  scenario: string,
  options: ScenarioOptions = {},
): Promise<string[]> {
  const directory = mkdtempSync(join(tmpdir(), 'mesos-replay-'));
  const timeScale = options.timeScale ?? TIME_SCALE;
  const translation = new Translation([
    ['/mnt/disk', `${directory}/mnt/disk`],
    ['/srv/cistern/', `${directory}/srv/`],
  ]);
  writeExecutor(directory, { scenario, timeScale, translations: translation.pairs });
  const standIn = await MesosStandIn.start({
    directory,
    masterPort: 0,
    timeScale,
    region: 'r1',
    zone: 'z1',
    ...options.standIn,
  });
  const cluster: RecordedCluster = { standIn, masters: new Map(), orphans: [] };
  const port = (host: string) => host.split(':')[1] ?? '';
  const replay = new Replay({
    scenario,
    urlOf: (host) => cluster.masters.get(port(host)) ?? standIn.masterUrl,
    timeScale,
    translation,
    onStep: (entry) => options.script?.(cluster, entry),
  });
  try {
    for (const spec of recordedAgents(scenario, directory)) await standIn.addAgent(spec);
    const played = await replay.run();
    const compared = comparePlayed(played, options);
    return [...compared, ...(await compareExecutors(directory, translation, options))];
  } finally {
    for (const pid of cluster.orphans) kill(pid, 'SIGKILL');
    await standIn.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended already.
  }
}

/** The file that recorded launches fetch: it starts the replaying executor. */
function writeExecutor(
  directory: string,
  given: Pick<ExecutorReplayConfig, 'scenario' | 'timeScale' | 'translations'>,
): void {
  const config: ExecutorReplayConfig = {
    ...given,
    recordings: RECORDINGS,
    output: join(directory, 'played'),
    fallback: EXECUTOR_FILE,
  };
  const module = new URL('./executor-replay.js', import.meta.url).href;
  const script = `#!/usr/bin/env node\nimport(${JSON.stringify(module)}).then((one) => one.main(${JSON.stringify(config)}));\n`;
  mkdirSync(join(directory, 'srv'), { recursive: true });
  writeFileSync(join(directory, 'srv', 'executor'), script);
  chmodSync(join(directory, 'srv', 'executor'), 0o755);
}

/** Executors may still be saying goodbye when the framework is gone. */
const EXECUTOR_ENDS_MS = 1_500;

async function compareExecutors(
  directory: string,
  translation: Translation,
  comparison: Comparison,
): Promise<string[]> {
  const folder = join(directory, 'played');
  if (!existsSync(folder)) return [];
  await sleep(EXECUTOR_ENDS_MS);
  return readdirSync(folder).flatMap((file) => {
    const text = readFileSync(join(folder, file), 'utf8').trim();
    const lines = text.split('\n').map((line) => JSON.parse(line) as ExecutorLine);
    return compareExecutor(lines, (one) => translation.toRecorded(one), comparison);
  });
}

/** Recorded clusters used /mnt/disk1…6 or, on the second machine, /mnt/disk7…12. */
function recordedAgents(scenario: string, directory: string): AgentSpec[] {
  const text = JSON.stringify(recordedExchanges(scenario).map((one) => one.events ?? []));
  const first = /\/mnt\/disk(?:7|8|9|10|11|12)"/.test(text) ? 7 : 1;
  const hosts = [1, 2].filter((number) => text.includes(`agent${number}.example`));
  return hosts.map((number) => agent(directory, number, first + 3 * (number - 1)));
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

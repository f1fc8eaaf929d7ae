/**
 * The stand-in against recordings of a real Mesos: every recorded request is sent again, and must get the
 * same status, headers and events; every recorded executor plays its part against a stand-in's agent.
 */

import { expect } from 'chai';
import { hasRecordings, recordedExchanges, WHY_SKIPPED } from './recordings.ts';
import { sleep } from './replayed-exchange.ts';
import { kill, playScenario, type ScenarioOptions, type Script } from './scenarios.ts';

/**
 * Recorded exchanges that are not compared, and why. Whatever is neither compared nor named here fails
 * the last test.
 */
const NOT_COMPARED: Readonly<Record<string, string>> = Object.fromEntries(
  ['s6b-agent-restart-json', 's6b-agent-restart-protobuf'].map((scenario) => [
    `${scenario}/executor-node-1/04-update-task-running`,
    'sent while the agent was away: the connection was refused, so there is no answer',
  ]),
);

const NOT_LEADING = { '5155': true, '5156': true };

const freezeAndThaw: Script = async ({ standIn }, { note }) => {
  if (note?.startsWith('agent1 process stopped') === true) standIn.freezeAgent('agent1');
  if (note?.startsWith('agent1 process continued') === true) standIn.thawAgent('agent1');
  if (note?.startsWith('agent1 stopped for 4 s') === true) {
    standIn.freezeAgent('agent1');
    await sleep(200);
    standIn.thawAgent('agent1');
  }
};

const restartAgent: Script = async ({ standIn }, entry) => {
  const pids = standIn.state().agents[0]?.executorPids ?? [];
  if (entry.folder === '08-message' && entry.event === undefined && entry.send === undefined) {
    // The message is on its way to the executor, which makes an update while the agent is away.
    await sleep(100);
    await standIn.stopAgent('agent1');
  }
  if (entry.event === 'UPDATE' && entry.index === 11) await standIn.startAgent('agent1');
  if (entry.note?.startsWith('agent1 killed and restarted while') === true) {
    for (const pid of pids) kill(pid, 'SIGSTOP');
    await standIn.stopAgent('agent1');
  }
  if (entry.event === 'OFFERS' && entry.index === 18) await standIn.startAgent('agent1');
  if (entry.note?.startsWith('agent1 stopped with SIGUSR1') === true) {
    void standIn.retireAgent('agent1').then(() => standIn.startAgent('agent1'));
  }
};

const wipeAgent: Script = async ({ standIn, orphans }, { note }) => {
  if (note?.startsWith('agent1 killed with SIGKILL') !== true) return;
  orphans.push(...(standIn.state().agents[0]?.executorPids ?? []));
  await standIn.stopAgent('agent1');
  standIn.wipeAgent('agent1');
  await standIn.startAgent('agent1');
};

const restartMaster: Script = async ({ standIn }, { note }) => {
  if (note?.startsWith('master killed') === true) {
    standIn.freezeAgent('agent1');
    await standIn.restartMaster();
  }
  if (note === 'agent1 comes back') standIn.thawAgent('agent1');
};

const threeMasters: Script = async ({ standIn, masters }, entry) => {
  if (entry.send !== undefined && entry.folder?.startsWith('02-') === true) {
    for (const port of Object.keys(NOT_LEADING)) {
      masters.set(port, await standIn.addRedirectingMaster());
    }
  }
  if (entry.note === 'the leader is killed with SIGKILL') await standIn.stopMaster();
  if (entry.send !== undefined && entry.folder?.startsWith('32-') === true) {
    await standIn.failOverTo(masters.get('5155') ?? '');
  }
};

const losesZooKeeper: Script = async ({ standIn }, entry) => {
  if (entry.stream_end?.startsWith('connection closed') === true) await standIn.stopMaster();
};

type Scenario = {
  readonly what: string;
  readonly folders: readonly string[];
  readonly options?: ScenarioOptions;
};

const both = (name: string) => [`${name}-json`, `${name}-protobuf`];

const SCENARIOS: readonly Scenario[] = [
  { what: 'subscribe, decline, suppress, revive, teardown', folders: both('s1-subscribe') },
  { what: 'reserve, create, launch, second task, kill, shutdown', folders: both('s2-launch') },
  { what: 'refusals', folders: both('s3-refusals') },
  { what: 'failover, disconnection, removed and invented ids', folders: both('s5-failover') },
  {
    what: 'agent unreachable, and back',
    folders: ['s6a-agent-unreachable-protobuf'],
    options: { timeScale: 30, script: freezeAndThaw },
  },
  {
    what: 'agent restarts under a running and under a stopped executor, and says goodbye',
    folders: both('s6b-agent-restart'),
    options: { script: restartAgent, standIn: { startStepMs: 300 } },
  },
  {
    what: 'agent wiped, agent gone',
    folders: ['s6c-agent-wiped-json'],
    options: { script: wipeAgent },
  },
  {
    what: 'master restart',
    folders: ['s6d-master-restart-json'],
    options: { script: restartMaster, standIn: { startStepMs: 300 } },
  },
  { what: 'maintenance', folders: both('s7a-maintenance') },
  { what: 'drain, reactivate, mark gone, deactivate', folders: both('s7b-drain') },
  {
    what: 'reconciliation, messages, task ends',
    folders: both('s8-tasks'),
    // Whether node-3 had started when the KILL came is a matter of milliseconds.
    options: { ignored: ['node-3'] },
  },
  { what: 'grow, shrink, destroy, unreserve, feedback', folders: both('s9-volumes') },
  {
    what: 'three masters, leader killed',
    folders: ['s10-zookeeper-masters-json'],
    options: {
      script: threeMasters,
      standIn: {
        startStepMs: 400,
        isColdStart: true,
        hostname: 'master1.example',
        leaderSessionMs: 60_000,
      },
    },
  },
  {
    what: 'Basic authentication',
    folders: ['s11-basic-auth-json'],
    options: { standIn: { credentials: { cistern: 's3cret', other: 's3cret2' } } },
  },
  { what: 'Linux isolation', folders: ['s12-linux-isolation-json'] },
  {
    what: 'master starts; loses ZooKeeper',
    folders: ['s13-master-start-json'],
    options: { script: losesZooKeeper, standIn: { startStepMs: 300, isColdStart: true } },
  },
];

/** Replays mostly wait: the next one runs beside each. */
const PLAYED_AHEAD = 1;

/** Plays the scenarios in their order, some ahead of the test that asks for them. */
function startPlays(): (folders: readonly string[]) => Promise<readonly string[]> {
  const started = new Map<string, Promise<readonly string[]>>();
  const start = ({ folders, options }: Scenario): Promise<readonly string[]> => {
    const key = folders.join();
    const known = started.get(key);
    if (known !== undefined) return known;
    const play = Promise.all(folders.map((one) => playScenario(one, options))).then((all) =>
      all.flat(),
    );
    // Whoever asks for it is told; until then its failure is nobody's.
    play.catch(() => undefined);
    started.set(key, play);
    return play;
  };
  return (folders) => {
    const place = SCENARIOS.findIndex((one) => one.folders === folders);
    const [first, ...ahead] = SCENARIOS.slice(place, place + 1 + PLAYED_AHEAD).map(start);
    expect(ahead.length).to.be.at.most(PLAYED_AHEAD);
    return first ?? Promise.resolve([]);
  };
}

describe('stand-in: the recorded exchanges', function () {
  this.timeout(240_000);
  const compared = new Set<string>();
  const played = new Set<string>();

  before(function () {
    if (hasRecordings()) return;
    console.warn(`      skipped: ${WHY_SKIPPED}`);
    this.skip();
  });
  const plays = startPlays();
  for (const { what, folders } of SCENARIOS) {
    it(`${folders.join(', ')}: ${what}, the same`, async () => {
      for (const name of await plays(folders)) compared.add(name);
      for (const folder of folders) played.add(folder);
    });
  }

  it('every recorded exchange is compared, or named with the reason why not', function () {
    const all = SCENARIOS.flatMap(({ folders }) => folders);
    if (all.some((one) => !played.has(one))) this.skip();
    const recorded = recordedExchanges().map(({ name }) => name);
    expect(recorded.length).to.be.greaterThan(800);
    const left = recorded.filter((name) => !compared.has(name) && NOT_COMPARED[name] === undefined);
    expect(left, 'neither compared nor named').to.deep.equal([]);
    const idle = Object.keys(NOT_COMPARED).filter((name) => compared.has(name));
    expect(idle, 'named, but compared').to.deep.equal([]);
  });
});

/**
 * Which test stands for what: each surprise of a real Mesos (numbered as in the list beside its recorded
 * traffic), and each thing that a framework must not do. `mesos-tables.test.ts` keeps both honest: every
 * named test exists, nothing is left out. A name is the beginning of a test's title.
 */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: titles stand here as in the source of their tests

export interface NamedTest {
  readonly file: string;
  readonly title: string;
  /** A folder of recordings that the test replays. */
  readonly scenario?: string;
}

const at =
  (file: string) =>
  (title: string): NamedTest => ({ file, title });

const conformance = at('test/contract/mesos-wire/conformance.test.ts');
const streams = at('test/contract/mesos-wire/client-streams.test.ts');
const refusals = at('test/contract/mesos-wire/client-refusals.test.ts');
const surprises = at('test/contract/mesos-wire/surprises.test.ts');
const claims = at('test/unit/offers/claims.test.ts');
const framework = at('test/unit/offers/framework.test.ts');
const recovery = at('test/unit/offers/recovery.test.ts');
const taskLife = at('test/unit/offers/task-life.test.ts');
const rules = at('test/unit/offers/mesos-rules.test.ts');
const walk = at('test/unit/offers/random-walk.test.ts');
const codec = at('test/unit/mesos/codec.test.ts');
const master = at('test/integration/mesos-client/misbehaving-master.test.ts');
const agent = at('test/integration/mesos-client/misbehaving-agent.test.ts');
const client = at('test/integration/mesos-client/scheduler.test.ts');
const agents = at('test/integration/mesos-client/agents.test.ts');
const access = at('test/unit/config/master-access.test.ts');
const standIn = at('test/integration/mesos/launch.test.ts');
const life = at('test/integration/mesos/agent-life.test.ts');

const replay = (scenario: string): NamedTest => ({
  ...conformance("${folders.join(', ')}"),
  scenario,
});
const everyExchange = conformance('every recorded exchange is compared');
const takenByManager = surprises('3, 11 to 17, 28: every recorded stream');

export const SURPRISES: Readonly<Record<number, readonly NamedTest[]>> = {
  1: [surprises('1: a call without a type'), rules('${rule}'), replay('s3-refusals')],
  2: [rules('${rule}'), claims('a new agent, one disk reserved')],
  3: [takenByManager, taskLife('${row.state}'), replay('s6b-agent-restart')],
  4: [taskLife('TASK_ERROR with the id of the running task')],
  5: [
    agents('wiped agent: another agent without labels'),
    recovery('a serving disk whose volume vanished'),
  ],
  6: [framework('another framework id than the known one'), replay('s5-failover')],
  7: [surprises('7: the stream of the operator API'), replay('s3-refusals')],
  8: [refusals('scheduler, as the answer to SUBSCRIBE'), replay('s10-zookeeper-masters-json')],
  9: [surprises('9: redirected to a leader that is dead'), replay('s10-zookeeper-masters-json')],
  10: [master('404, 503, broken socket while it starts'), replay('s6d-master-restart-json')],
  11: [takenByManager, streams('scheduler: every recorded stream')],
  12: [takenByManager, recovery('rescinded offer, ACCEPT in vain'), replay('s6b-agent-restart')],
  13: [takenByManager, taskLife('the same update again: acknowledged again')],
  14: [surprises('14: an update right after the resubscription')],
  15: [takenByManager, taskLife('unreachable: not launched again')],
  16: [takenByManager, taskLife('its volume is offered while it counts as running')],
  17: [takenByManager, taskLife('FAILURE of the executor, then a terminal update')],
  18: [surprises('18: an executor never says TASK_KILLING'), replay('s7b-drain')],
  19: [framework('for a node that we do not use: accepted'), replay('s7a-maintenance')],
  20: [replay('s7b-drain')],
  21: [replay('s9-volumes')],
  22: [replay('s8-tasks')],
  23: [surprises('23: a negative failover timeout')],
  24: [surprises('24: the empty offer filter')],
  25: [
    codec('JSON: unknown fields ignored but reported'),
    codec('JSON: what Mesos refuses'),
    replay('s3-refusals'),
  ],
  26: [surprises('26: content type and accept are spelled exactly'), replay('s3-refusals')],
  27: [replay('s3-refusals'), framework('no answers (agents still away): asked again')],
  28: [takenByManager, rules('${rule}')],
  29: [replay('s8-tasks')],
  30: [rules('${rule}'), replay('s9-volumes')],
  31: [replay('s2-launch')],
  32: [
    at('test/unit/node-agent/executor.test.ts')('killed: told when the store is closed'),
    standIn('reserve, create, launch in one accept, volumes in the sandbox'),
    replay('s12-linux-isolation-json'),
  ],
  33: [everyExchange],
  34: [surprises('34: a stream that ends ${how}')],
  35: [replay('s10-zookeeper-masters-json')],
};

export interface MustNot {
  /** In our words. */
  readonly what: string;
  readonly tests: readonly NamedTest[];
  /** Not kept yet, and what is missing. */
  readonly open?: string;
}

const ruled = rules('${rule}: each way to break it is caught');
const walked = walk('seed ${seed}: rules hold all along');

export const MUST_NOT: readonly MustNot[] = [
  { what: 'hold or ignore an offer', tests: [ruled, walked] },
  {
    what: 'suppress without reviving for every new work, revive too often or for nothing',
    tests: [
      ruled,
      framework('nothing wanted: declined for long and suppressed'),
      framework('a burst of work: no two REVIVEs'),
      framework('an expansion that ended and is wanted again soon'),
      walked,
    ],
  },
  { what: 'decline for so long that own capacity returns unnoticed', tests: [ruled, walked] },
  {
    what: 'relaunch or delete because of a task state that is no certain end',
    tests: [ruled, taskLife('${row.state}'), taskLife('unreachable: not launched again'), walked],
  },
  {
    what: 'destroy or unreserve what is not labelled as ours and recorded for deletion',
    tests: [ruled, recovery('volumes of ours that the store does not know'), walked],
  },
  {
    what: 'start with an empty store over labelled resources; take a new framework id silently',
    tests: [
      recovery('volumes of ours that the store does not know'),
      framework('another framework id than the known one'),
      taskLife('unknown task: acknowledged'),
    ],
  },
  {
    what: 'know a node by agent id or hostname alone; use a task id twice',
    tests: [
      ruled,
      recovery('the same volumes under a new agent id'),
      recovery('a new agent on the same host without our labels'),
      walked,
    ],
  },
  {
    what: 'acknowledge before the commit, not at all, or what has no uuid',
    tests: [ruled, taskLife('the fact changes in the step whose effect'), walked, takenByManager],
  },
  {
    what: 'act on offers of an earlier subscription; subscribe again after being failed over',
    tests: [
      ruled,
      client('a second scheduler takes over'),
      refusals('scheduler, as the answer to SUBSCRIBE'),
    ],
  },
  {
    what: 'exit on 503, 307 or a hiccup of ZooKeeper; loop on ERROR',
    tests: [
      master('404, 503, broken socket while it starts'),
      master('ERROR after 200: told once'),
      master('masters from a detector that hangs'),
      surprises('9: redirected to a leader that is dead'),
    ],
  },
  {
    what: 'rely on MESSAGE, on FAILURE, or on the order of events',
    tests: [
      taskLife('FAILURE without any update after it'),
      taskLife('late update of an executor'),
      walked,
      takenByManager,
    ],
  },
  {
    what: 'keep failover_timeout 0 or checkpoint false; TEARDOWN when stopped',
    tests: [
      framework('what it subscribes with'),
      surprises('23: a negative failover timeout'),
      ruled,
    ],
  },
  {
    what: 'change an ExecutorInfo under a running executor, or put a passing thing into it',
    tests: [ruled, taskLife('a task ends: it is started again on the running executor'), walked],
  },
  {
    what: "change an agent's flags or reboot its host from an executor",
    tests: [at('test/tidy/mesos-tables.test.ts')('executors: no way to the flags of an agent')],
  },
  {
    what: 'format a device without consent, or one with foreign data',
    tests: [
      at('test/unit/pools/selection.test.ts')('a root disk: only with consent'),
      at('test/integration/errors/disks.test.ts')('claimed disk holds foreign data'),
    ],
  },
  {
    what: 'show secrets in launches; run a fetched file without its checksum',
    tests: [
      ruled,
      access('refused: a credential file with ${what}'),
      at('test/unit/config/executor-artefact.test.ts')('packed: nothing runs'),
    ],
    open: 'the operator API asks nobody who they are',
  },
  {
    what: 'take GPUs, revocable or foreign resources, or more than asked',
    tests: [ruled, claims('resources of others, revocable ones'), walked],
  },
  {
    what: 'take 202 for done, an ACCEPT for atomic, or silence for death',
    tests: [
      recovery('`only what came up to'),
      recovery('nothing heard of a launch'),
      framework('no answers (agents still away)'),
      walked,
    ],
  },
  {
    what: 'keep everything in one znode, or write for every update',
    tests: [
      taskLife('the same update again: acknowledged again'),
      framework('implicit reconciliation now and then'),
    ],
  },
];

/** Used by tests of agents that come back, and named nowhere above. */
export const ALSO: readonly NamedTest[] = [
  agent('without checkpointing: gives up'),
  life('agent process restarted, the executor lives on'),
];

/**
 * `npm run ha`: three schedulers on a real metadata store under verified I/O; their leader is killed, paused
 * beyond its session, and cut off, each at random moments and as often as asked. Exit code 0: no I/O error, no
 * restarted executor, no second leader, and every failover within ten seconds.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeError, invalidField } from '../../shared/base/errors.ts';
import { Prng } from '../../shared/base/prng.ts';
import { sleep } from '../integration/cluster/harness.ts';
import { type Failover, HaCluster, LEADER_FAULTS, type StoreServers } from './ha-cluster.ts';
import { STORES } from './store-servers.ts';

const USAGE = `Kills, pauses and cuts off the leading one of three schedulers under verified I/O.

  npm run ha -- [options]

  --store NAME     ${Object.keys(STORES).join(' or ')} (zookeeper)
  --rounds N       so often each: ${LEADER_FAULTS.join(', ')} (10)
  --seed N         draws their order and the moments (a new one, printed)
  --dir DIR        an empty directory for everything (one below /tmp)
`;

/** What is promised (docs/reliability.md). */
const FAILOVER_MS_MAX = 10_000;
/** Faults hit anything between a commit and the next report of a node. */
const QUIET_MS_MAX = 4_000;

interface Settings {
  readonly start: () => Promise<StoreServers>;
  readonly rounds: number;
  readonly seed: number;
  readonly directory: string;
}

function readSettings(): Settings | null {
  const { values } = parseArgs({
    options: {
      store: { type: 'string', default: 'zookeeper' },
      rounds: { type: 'string', default: '10' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
      dir: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const start = STORES[values.store];
  if (start === undefined) {
    throw invalidField('--store', values.store, Object.keys(STORES).join(', '));
  }
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 1_000) {
    throw invalidField('--rounds', values.rounds, '1 to 1000');
  }
  const directory = values.dir ?? mkdtempSync(join(tmpdir(), 'cistern-ha-'));
  return { start, rounds, seed: Number(values.seed), directory };
}

async function run({ start, rounds, seed, directory }: Settings): Promise<void> {
  const random = new Prng(seed);
  say(`seed ${seed}, ${directory}`);
  // The cluster ends every process whose command line names its directory: ours names the one above.
  const cluster = await HaCluster.start(join(directory, 'cluster'), await start());
  const failovers: Failover[] = [];
  try {
    cluster.client.start();
    const faults = random.shuffle(Array.from({ length: rounds }, () => LEADER_FAULTS).flat());
    for (const fault of faults) {
      await sleep(random.between(0, QUIET_MS_MAX));
      const failover = await cluster.failOver(fault);
      failovers.push(failover);
      say(
        `${fault.padEnd(8)} leads after ${seconds(failover.leaderMs)}, complete after ${seconds(failover.completeMs)}, longest pause of I/O ${Math.round(failover.pauseMs)} ms`,
      );
    }
    await cluster.client.stop();
    say(`${await cluster.client.verifyAll()} blocks right`);
  } finally {
    await cluster.close();
    report(failovers);
  }
  const slow = failovers.filter(({ completeMs }) => completeMs > FAILOVER_MS_MAX);
  if (slow.length > 0) throw new Error(`${slow.length} failovers took over ten seconds`);
}

function report(failovers: readonly Failover[]): void {
  for (const fault of LEADER_FAULTS) {
    const ours = failovers.filter((one) => one.fault === fault);
    if (ours.length === 0) continue;
    const complete = ours.map((one) => one.completeMs).toSorted((a, b) => a - b);
    const median = complete[Math.floor(complete.length / 2)] ?? 0;
    say(
      `${fault.padEnd(8)} ${ours.length} times: complete after ${seconds(median)} (median), ${seconds(Math.max(...complete))} (longest); longest pause of I/O ${Math.round(Math.max(...ours.map((one) => one.pauseMs)))} ms`,
    );
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function say(text: string): void {
  process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}

const settings = readSettings();
if (settings === null) {
  process.stdout.write(USAGE);
} else {
  try {
    await run(settings);
    rmSync(settings.directory, { recursive: true, force: true });
    say('PASSED');
    process.exit(0);
  } catch (error) {
    say(`FAILED (seed ${settings.seed}): ${describeError(error)}`);
    say(`Kept: ${settings.directory}`);
    process.exit(1);
  }
}

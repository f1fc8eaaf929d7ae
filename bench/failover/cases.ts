/** What fails, and what is promised for it. Each case happens to a healthy cluster and lets it heal again. */
import { SCHEDULER_PLACE } from '../../test/chaos/network.ts';
import type { ChaosWorld } from '../../test/chaos/world.ts';
import { sleep } from '../../test/integration/cluster/harness.ts';

/** How long a node stays away: longer than any detection. */
const AWAY_MS = 12_000;
/** A dead scheduler is started again after a second. */
const SETTLE_MS = 6_000;

export interface FailureSite {
  readonly world: ChaosWorld;
  /** Node that coordinates the volumes. */
  readonly home: string;
  /** Another one, with replicas of both. */
  readonly other: string;
  readonly awaySeconds: number;
  /** Has the command line attach both volumes to a third node. */
  moveVolumes(): Promise<void>;
}

export interface FailureCase {
  readonly name: string;
  /** Milliseconds; null: no promise beyond coming back. */
  readonly targetMs: number | null;
  /** At most so often, whatever is asked for: it takes long. */
  readonly repeatsMax: number;
  /** Needs links that can be cut. */
  readonly isLink: boolean;
  readonly run: (site: FailureSite) => Promise<void>;
}

/** A pause shorter than this is none: the machine itself takes as long now and then. */
export const NO_PAUSE_MS = 500;

export const CASES: readonly FailureCase[] = [
  {
    name: "a replica's data process is killed",
    targetMs: 2_000,
    repeatsMax: 1000,
    isLink: false,
    async run({ world, other }) {
      await world.signalData(other, 'SIGKILL');
      await sleep(SETTLE_MS);
    },
  },
  {
    name: "a replica's executor is killed",
    targetMs: 2_000,
    repeatsMax: 1000,
    isLink: false,
    async run({ world, other }) {
      await world.signalExecutor(other, 'SIGKILL');
      await sleep(SETTLE_MS);
    },
  },
  {
    name: "a replica's node is cut off",
    targetMs: 6_000,
    repeatsMax: 1000,
    isLink: true,
    async run({ world, other }) {
      const peers = world.agents.filter((agent) => agent !== other);
      const mend = await world.cut(other, [...peers, SCHEDULER_PLACE], 'both');
      await sleep(AWAY_MS);
      await mend();
    },
  },
  {
    name: "a replica's node stands still (SIGSTOP)",
    targetMs: 6_000,
    repeatsMax: 1000,
    isLink: false,
    async run({ world, other }) {
      const pids = [...(await world.executorPids(other)), ...(await world.dataPids(other))];
      const thaw = await world.stop(pids);
      await sleep(AWAY_MS);
      await thaw();
    },
  },
  {
    name: 'the scheduler is killed and started again',
    targetMs: NO_PAUSE_MS,
    repeatsMax: 1000,
    isLink: false,
    async run({ world }) {
      world.signalScheduler('SIGKILL');
      await sleep(SETTLE_MS);
    },
  },
  {
    name: 'the scheduler is away',
    targetMs: NO_PAUSE_MS,
    repeatsMax: 2,
    isLink: false,
    run: ({ world, awaySeconds }) => world.cluster.keepSchedulerAway(awaySeconds * 1000),
  },
  {
    name: "the volume's own node dies, attached elsewhere",
    targetMs: 10_000,
    repeatsMax: 1000,
    isLink: false,
    async run({ world, home, moveVolumes }) {
      await world.cluster.killAgent(home);
      await moveVolumes();
      await sleep(1_000);
      await world.cluster.startAgent(home);
    },
  },
  {
    name: 'all processes on all nodes are killed at once',
    targetMs: null,
    repeatsMax: 1000,
    isLink: false,
    async run({ world }) {
      await world.killEverything();
      await sleep(SETTLE_MS);
    },
  },
];

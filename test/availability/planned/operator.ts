/** What a Mesos operator does to a development cluster: calls to the master's operator API, and questions. */
import { request } from 'undici';
import { present } from '../../../shared/base/assert.ts';
import type { ClusterView, PgView } from '../../../shared/model/api-views.ts';
import type { TestCluster } from '../../integration/cluster/harness.ts';

export interface AgentMachine {
  readonly name: string;
  readonly agentId: string;
  readonly resources: readonly {
    readonly name: string;
    readonly reservations?: readonly unknown[];
    readonly disk?: { readonly persistence?: unknown };
  }[];
}

interface AgentDrain {
  readonly agent_info: { readonly id: { readonly value: string } };
  readonly drain_info?: { readonly state: string };
}

export class MesosOperator {
  readonly #cluster: TestCluster;

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
  }

  /** An operator call; returns the answer's body, if there is one. */
  async call(body: object): Promise<unknown> {
    const answer = await request(`${this.#cluster.state.master}/api/v1`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300) throw new Error(`${answer.statusCode}: ${text}`);
    return text === '' ? null : JSON.parse(text);
  }

  /** Announces maintenance of the agents' machines, replacing what was announced before. */
  schedule(agents: readonly string[], startMs: number, durationMs: number): Promise<unknown> {
    const windows =
      agents.length === 0
        ? []
        : [
            {
              machine_ids: agents.map((hostname) => ({ hostname })),
              unavailability: {
                start: { nanoseconds: startMs * 1_000_000 },
                duration: { nanoseconds: durationMs * 1_000_000 },
              },
            },
          ];
    return this.call({
      type: 'UPDATE_MAINTENANCE_SCHEDULE',
      update_maintenance_schedule: { schedule: { windows } },
    });
  }

  startMaintenance(agent: string): Promise<unknown> {
    const machines = [{ hostname: agent }];
    return this.call({ type: 'START_MAINTENANCE', start_maintenance: { machines } });
  }

  stopMaintenance(agent: string): Promise<unknown> {
    const machines = [{ hostname: agent }];
    return this.call({ type: 'STOP_MAINTENANCE', stop_maintenance: { machines } });
  }

  drain(agentId: string): Promise<unknown> {
    return this.call({ type: 'DRAIN_AGENT', drain_agent: { agent_id: { value: agentId } } });
  }

  reactivate(agentId: string): Promise<unknown> {
    const agent = { agent_id: { value: agentId } };
    return this.call({ type: 'REACTIVATE_AGENT', reactivate_agent: agent });
  }

  /** `DRAINING`, `DRAINED`; null when the agent is not being drained. */
  async drainState(agentId: string): Promise<string | null> {
    const { get_agents: found } = (await this.call({ type: 'GET_AGENTS' })) as {
      readonly get_agents: { readonly agents: readonly AgentDrain[] };
    };
    const agent = found.agents.find(({ agent_info: info }) => info.id.value === agentId);
    return present(agent, `agent "${agentId}"`).drain_info?.state ?? null;
  }

  /** Answers of the frameworks to the inverse offers, by what they said. */
  async inverseAnswers(): Promise<string> {
    return JSON.stringify(await this.call({ type: 'GET_MAINTENANCE_STATUS' }));
  }

  /** All agents with their resources, and the frameworks that the master knows. */
  async state(): Promise<{
    readonly agents: readonly AgentMachine[];
    readonly frameworks: readonly { readonly id: string }[];
    readonly tasks: readonly unknown[];
  }> {
    const answer = await request(`${this.#cluster.state.master}/stand-in/state`);
    return (await answer.body.json()) as Awaited<ReturnType<MesosOperator['state']>>;
  }

  async agentId(name: string): Promise<string> {
    const { agents } = await this.state();
    return present(
      agents.find((agent) => agent.name === name),
      `agent "${name}"`,
    ).agentId;
  }

  /** How many reservations are left on all agents. */
  async reservations(): Promise<number> {
    const { agents } = await this.state();
    return agents
      .flatMap(({ resources }) => resources)
      .filter(({ reservations }) => (reservations ?? []).length > 0).length;
  }
}

/** Looks at the cluster again and again, and remembers what must never be seen. */
export class RedundancyWatch {
  readonly #cluster: TestCluster;
  readonly lapses: string[] = [];
  looks = 0;
  #isOver = false;
  #done: Promise<void> = Promise.resolve();

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
  }

  start(): void {
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      try {
        this.#judge(await this.#cluster.cluster());
      } catch {
        // The scheduler is away for a moment: nobody can look.
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  #judge({ pgs }: ClusterView): void {
    this.looks += 1;
    if (pgs.degraded + pgs.unavailable > 0) this.lapses.push(JSON.stringify(pgs));
  }
}

/** Placement groups that have a replica, also a joining one, on one of these disks. */
export async function pgsOn(
  cluster: TestCluster,
  disks: readonly string[],
): Promise<readonly string[]> {
  const pgs = await cluster.api.get<readonly PgView[]>('/pgs');
  return pgs
    .filter(({ inSync, joining }) => [...inSync, ...joining].some((disk) => disks.includes(disk)))
    .map(({ id }) => id);
}

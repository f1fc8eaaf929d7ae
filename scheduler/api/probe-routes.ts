/**
 * What machines ask: `/health` for Marathon, `/ready` for load balancers that want the leader only,
 * `/v1/leader` for whoever looks for it, `/metrics` for Prometheus.
 */
import type { FastifyInstance } from 'fastify';
import type { Health, HealthReason } from '../../shared/model/api-views.ts';
import type { LeaderRecord } from '../../shared/ports.ts';
import type { SchedulerMetrics } from '../metrics.ts';
import {
  count,
  described,
  flag,
  list,
  nullable,
  nullableOneOf,
  objectSchema,
  oneOf,
  ref,
  text,
} from './json-schema.ts';
import type { ManagerPort } from './manager-port.ts';
import { describeRoute } from './route-schema.ts';
import type { StandbyPort } from './standby-port.ts';

/** `ended`: it led, and its process is about to end. */
export type Role = 'leader' | 'standby' | 'ended';

/** `health` is the cluster's, null while this scheduler does not lead. */
export interface HealthAnswer {
  readonly role: Role;
  readonly isLeading: boolean;
  /** Why it does not lead. */
  readonly reason: string;
  readonly health: Health | null;
  readonly reasons: readonly HealthReason[];
}

/** Who leads; null: nobody, or nobody knows. */
export interface LeaderAnswer {
  readonly leader: LeaderRecord | null;
  /** It is the process that answers. */
  readonly isSelf: boolean;
}

const ROLES = ['leader', 'standby', 'ended'] as const;

const healthAnswer = objectSchema(
  {
    role: oneOf(ROLES),
    isLeading: flag,
    reason: described(text, 'Why it does not lead'),
    health: nullableOneOf(['ok', 'degraded', 'critical']),
    reasons: list(ref('HealthReason')),
  },
  ['role', 'isLeading', 'reason', 'health', 'reasons'],
);

const leaderAnswer = objectSchema(
  {
    leader: nullable(
      objectSchema({ term: count, address: described(text, 'Base URL of its API') }, [
        'term',
        'address',
      ]),
    ),
    isSelf: described(flag, 'The process that answers leads'),
  },
  ['leader', 'isSelf'],
);

export function addProbes(
  app: FastifyInstance,
  manager: ManagerPort,
  metrics: SchedulerMetrics,
): void {
  app.get(
    '/health',
    {
      schema: {
        tags: ['cluster'],
        summary:
          'Whether this scheduler works, leading or standing by; a degraded cluster is no reason to restart it',
        response: {
          200: { description: 'It leads or stands by', ...healthAnswer },
          503: { description: 'It is about to end', ...healthAnswer },
        },
      },
    },
    async (_request, reply) => {
      const answer = readHealth(manager);
      return reply.status(answer.role === 'ended' ? 503 : 200).send(answer);
    },
  );
  app.get(
    '/ready',
    {
      schema: {
        tags: ['cluster'],
        summary:
          'Whether this scheduler leads: for load balancers that shall send changes to it only',
        response: {
          200: { description: 'It leads', ...healthAnswer },
          503: { description: 'It stands by, or is about to end', ...healthAnswer },
        },
      },
    },
    async (_request, reply) => {
      const answer = readHealth(manager);
      return reply.status(answer.isLeading ? 200 : 503).send(answer);
    },
  );
  app.get('/metrics', { schema: { hide: true } }, async (_request, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  );
}

/** Every scheduler answers this one by itself. */
export function addLeaderRoute(
  app: FastifyInstance,
  manager: ManagerPort,
  standby: StandbyPort,
): void {
  app.get(
    '/v1/leader',
    { schema: describeRoute('cluster', 'Which scheduler leads', leaderAnswer) },
    async (): Promise<LeaderAnswer> => ({
      leader: await standby.findLeader(),
      isSelf: manager.leadership().isLeading,
    }),
  );
}

function readHealth(manager: ManagerPort): HealthAnswer {
  const { isLeading, isStandby = false, reason } = manager.leadership();
  if (!isLeading) {
    return { role: isStandby ? 'standby' : 'ended', isLeading, reason, health: null, reasons: [] };
  }
  const { health, reasons } = manager.cluster();
  return { role: 'leader', isLeading, reason: '', health, reasons };
}

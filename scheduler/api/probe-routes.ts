/** What machines ask: `/health` for load balancers and Marathon, `/metrics` for Prometheus. */
import type { FastifyInstance } from 'fastify';
import type { Health, HealthReason } from '../../shared/model/api-views.ts';
import type { SchedulerMetrics } from '../metrics.ts';
import { described, flag, list, nullableOneOf, objectSchema, ref, text } from './json-schema.ts';
import type { ManagerPort } from './manager-port.ts';

/** `health` is the cluster's, null while this scheduler does not lead. */
export interface HealthAnswer {
  readonly isLeading: boolean;
  /** Why it does not lead. */
  readonly reason: string;
  readonly health: Health | null;
  readonly reasons: readonly HealthReason[];
}

const healthAnswer = objectSchema(
  {
    isLeading: flag,
    reason: described(text, 'Why it does not lead'),
    health: nullableOneOf(['ok', 'degraded', 'critical']),
    reasons: list(ref('HealthReason')),
  },
  ['isLeading', 'reason', 'health', 'reasons'],
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
        summary: 'Whether this scheduler leads; a degraded cluster is no reason to restart it',
        response: {
          200: { description: 'It leads', ...healthAnswer },
          503: { description: 'It does not lead', ...healthAnswer },
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

function readHealth(manager: ManagerPort): HealthAnswer {
  const { isLeading, reason } = manager.leadership();
  if (!isLeading) return { isLeading, reason, health: null, reasons: [] };
  const { health, reasons } = manager.cluster();
  return { isLeading, reason: '', health, reasons };
}

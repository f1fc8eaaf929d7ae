/** The routes of the two streams (streams.ts). */
import type { FastifyInstance } from 'fastify';
import { invalidField } from '../../shared/base/errors.ts';
import { EventSource } from './event-source.ts';
import { count, described, objectSchema } from './json-schema.ts';
import { errorResponses } from './route-schema.ts';
import type { Streams } from './streams.ts';

const streamResponse = {
  200: { description: 'A stream that does not end', type: 'string' },
  ...errorResponses,
};

export function addStreamRoutes(app: FastifyInstance, streams: Streams): void {
  app.get(
    '/stream',
    {
      schema: {
        tags: ['streams'],
        summary: 'Server-sent events `snapshot`: the whole cluster, at most once a second',
        produces: ['text/event-stream'],
        response: streamResponse,
      },
    },
    async (_request, reply) => {
      streams.admit();
      streams.addSnapshots(new EventSource(reply));
    },
  );
  app.get<{ Querystring: { since?: number } }>(
    '/events/stream',
    {
      schema: {
        tags: ['streams'],
        summary: 'Server-sent events `event`: every event, going on after `Last-Event-ID`',
        querystring: objectSchema(
          { since: described(count, 'Like `Last-Event-ID`, for the first connection') },
          [],
        ),
        produces: ['text/event-stream'],
        response: streamResponse,
      },
    },
    async (request, reply) => {
      const last = request.headers['last-event-id'];
      const since = last === undefined ? (request.query.since ?? null) : readEventId(last);
      streams.admit();
      streams.addFollower(new EventSource(reply), since);
    },
  );
}

function readEventId(given: string | string[]): number {
  if (typeof given === 'string' && /^\d{1,15}$/.test(given)) return Number(given);
  throw invalidField('Last-Event-ID', given, 'the id of an event');
}

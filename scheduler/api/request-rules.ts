/**
 * Rules for every request: how bodies and queries are read, who may change things, what unknown
 * routes and methods are told, and what is logged and counted.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { ErrorView } from '../../shared/model/api-views.ts';
import type { Log } from '../../shared/ports.ts';
import type { SchedulerMetrics } from '../metrics.ts';

export function addRequestRules(app: FastifyInstance, log: Log, metrics: SchedulerMetrics): void {
  const routes = collectRoutes(app);
  readBodies(app);
  app.addHook('onRequest', refuseForeignPages);
  app.addHook('onRequest', async (request, reply) => {
    void reply.header('x-request-id', request.id);
  });
  app.addHook('preValidation', async (request) => {
    request.body ??= {};
    request.query = convertQuery(request);
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unknown';
    const { statusCode: status, elapsedTime } = reply;
    metrics.observeRequest({ method: request.method, route, status, seconds: elapsedTime / 1000 });
    log('debug', 'API request', {
      requestId: request.id,
      method: request.method,
      url: request.url,
      status,
      durationMs: Math.round(elapsedTime),
    });
  });
  app.setNotFoundHandler((request, reply) => {
    const allowed = methodsOf(routes, request.url);
    return allowed.length === 0
      ? refuseRoute(request, reply)
      : refuseMethod(request, reply, allowed);
  });
}

/** JSON only; a request without a body, or with an empty one, is one without fields. */
function readBodies(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const given = String(body);
    if (given.trim() === '') done(null, {});
    else parse(request, given, done);
  });
}

/**
 * A web page elsewhere can make the operator's browser send a request without a body here. Browsers
 * say so; other clients send no such header.
 */
async function refuseForeignPages(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  if (request.method === 'GET' || request.method === 'HEAD') return;
  const site = request.headers['sec-fetch-site'];
  if (site === undefined || site === 'same-origin' || site === 'none') return;
  const view: ErrorView = {
    code: 'invalid-argument',
    message: `A page of another site ("${request.headers.origin ?? 'unknown'}") may not change the cluster`,
    details: { field: 'Sec-Fetch-Site', given: site, allowed: 'same-origin' },
  };
  return reply.status(403).send(view);
}

/** Queries are text: what the schema calls an integer or a boolean becomes one, if it looks like one. */
function convertQuery(request: FastifyRequest): unknown {
  const schema = request.routeOptions.schema?.querystring as
    | { readonly properties?: Readonly<Record<string, { readonly type?: unknown }>> }
    | undefined;
  const query = request.query as Readonly<Record<string, unknown>>;
  const properties = schema?.properties;
  if (properties === undefined) return query;
  const converted = Object.entries(query).map(([name, value]) => [
    name,
    convertValue(value, properties[name]?.type),
  ]);
  return Object.fromEntries(converted);
}

function convertValue(value: unknown, type: unknown): unknown {
  if (typeof value !== 'string') return value;
  if (type === 'integer' && /^\d{1,15}$/.test(value)) return Number(value);
  if (type === 'boolean' && value === '') return true;
  if (type === 'boolean' && (value === 'true' || value === 'false')) return value === 'true';
  return value;
}

interface KnownRoute {
  readonly pattern: RegExp;
  readonly methods: Set<string>;
}

type KnownRoutes = Map<string, KnownRoute>;

/** Fastify forgets which methods a path has; a caller with the wrong one wants to know. */
function collectRoutes(app: FastifyInstance): KnownRoutes {
  const routes: KnownRoutes = new Map();
  app.addHook('onRoute', ({ url, method }) => {
    const source = url.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll(/:[^/]+/g, '[^/]+');
    const pattern = new RegExp(`^${source.replaceAll('*', '.*')}/?$`);
    const route = routes.get(url) ?? { pattern, methods: new Set<string>() };
    for (const one of [method].flat()) route.methods.add(one);
    routes.set(url, route);
  });
  return routes;
}

function methodsOf(routes: KnownRoutes, url: string): readonly string[] {
  const path = url.split('?')[0] ?? '';
  const found = [...routes.values()].filter((route) => route.pattern.test(path));
  return [...new Set(found.flatMap((route) => [...route.methods]))].toSorted();
}

/** An error message repeats at most this much of a path. */
const PATH_CHARACTERS_MAX = 200;

function refuseRoute(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const path = request.url.slice(0, PATH_CHARACTERS_MAX);
  const view: ErrorView = {
    code: 'not-found',
    message: `There is no "${path}" here; /docs lists what there is`,
    details: { field: 'path', given: path },
  };
  return reply.status(404).send(view);
}

function refuseMethod(
  request: FastifyRequest,
  reply: FastifyReply,
  allowed: readonly string[],
): FastifyReply {
  const path = request.url.slice(0, PATH_CHARACTERS_MAX);
  const view: ErrorView = {
    code: 'invalid-argument',
    message: `"${path}" does not take ${request.method}, allowed: ${allowed.join(', ')}`,
    details: { field: 'method', given: request.method, allowed },
  };
  return reply.status(405).header('allow', allowed.join(', ')).send(view);
}

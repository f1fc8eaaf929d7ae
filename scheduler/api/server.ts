/**
 * The operator API: one HTTP server with REST under `/v1`, streams, OpenAPI at `/docs`, `/health`,
 * `/metrics`, the dashboard at `/` and the executor's artefact. It holds no state of its own: every
 * answer is a view of the manager, every change a command to it.
 */
import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import fastify from 'fastify';
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/ports.ts';
import type { SchedulerMetrics } from '../metrics.ts';
import { AGENT_SCHEMAS, addAgentRoutes } from './agent-routes.ts';
import { answerGarbage, errorHandler } from './error-answers.ts';
import { addArtefacts, addDashboard } from './files.ts';
import type { ManagerPort } from './manager-port.ts';
import { addOperations } from './operation-routes.ts';
import { addPoolRoutes } from './pool-routes.ts';
import { addLeaderRoute, addProbes } from './probe-routes.ts';
import { addReadRoutes } from './read-routes.ts';
import { addRequestRules } from './request-rules.ts';
import type { StandbyPort } from './standby-port.ts';
import { addStandbyRules } from './standby-rules.ts';
import { addStreamRoutes } from './stream-routes.ts';
import { Streams } from './streams.ts';
import { VIEW_SCHEMAS } from './view-schemas.ts';
import { addVolumeCommands } from './volume-routes.ts';
import { assertLeading } from './waiting.ts';

/** The largest request is the creation of a volume: some hundred bytes. */
const BODY_BYTES_MAX = 64 * 1024;

export interface ApiOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly version: string;
  /** Where the built dashboard is; null: none is served. */
  readonly dashboardDirectory: string | null;
  /** Where the executor's artefacts are; null: none are served. */
  readonly artefactDirectory: string | null;
}

export interface ApiModules {
  readonly manager: ManagerPort;
  readonly metrics: SchedulerMetrics;
  readonly log: Log;
  /** How a scheduler that does not lead answers; without it, 503 to everything. */
  readonly standby?: StandbyPort;
}

export interface ApiServer {
  /** `http://127.0.0.1:8080`, with the port really bound. */
  readonly url: string;
  readonly port: number;
  /** Ends streams and waiting requests at once. */
  close(): Promise<void>;
}

/** Rejects with `unavailable` when the address cannot be listened on (port in use, not ours). */
export async function startApi(options: ApiOptions, modules: ApiModules): Promise<ApiServer> {
  const streams = new Streams(modules.manager, modules.metrics);
  const app = await buildApi(options, modules, streams);
  const { host } = options;
  try {
    await app.listen({ host, port: options.port });
  } catch (error) {
    await app.close();
    throw listenError(options, error);
  }
  const { port } = app.server.address() as AddressInfo;
  const shownHost = host.includes(':') ? `[${host}]` : host;
  return {
    url: `http://${shownHost}:${port}`,
    port,
    async close() {
      streams.close();
      await app.close();
    },
  };
}

async function buildApi(
  options: ApiOptions,
  { manager, metrics, log, standby }: ApiModules,
  streams: Streams,
): Promise<FastifyInstance> {
  const app = fastify({
    bodyLimit: BODY_BYTES_MAX,
    forceCloseConnections: true,
    genReqId: () => randomUUID(),
    frameworkErrors: (error, request, reply) => errorHandler(log)(error, request, reply),
    clientErrorHandler: (error, socket) => answerGarbage(error, socket),
    routerOptions: { ignoreTrailingSlash: true },
    // The version negotiation of fastify is not used, and logging goes through our own port.
    logger: false,
    ajv: {
      customOptions: {
        coerceTypes: false,
        removeAdditional: false,
        useDefaults: false,
        allowUnionTypes: true,
        verbose: true,
      },
    },
  });
  // Views are JSON already; a serializer made from schemas would drop a field that it does not know.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  for (const schema of [...VIEW_SCHEMAS, ...AGENT_SCHEMAS]) app.addSchema(schema);
  addRequestRules(app, log, metrics);
  app.setErrorHandler(errorHandler(log));
  await addDocuments(app, options.version);
  await app.register(
    async (v1) => {
      if (standby !== undefined) addStandbyRules(v1, { manager, standby, log });
      else v1.addHook('onRequest', async () => assertLeading(manager));
      addReadRoutes(v1, manager);
      addAgentRoutes(v1, manager);
      addVolumeCommands(v1, manager);
      addOperations(v1, manager);
      addPoolRoutes(v1, manager);
      addStreamRoutes(v1, streams);
    },
    { prefix: '/v1' },
  );
  addProbes(app, manager, metrics);
  if (standby !== undefined) addLeaderRoute(app, manager, standby);
  if (options.dashboardDirectory !== null) await addDashboard(app, options.dashboardDirectory);
  if (options.artefactDirectory !== null) addArtefacts(app, options.artefactDirectory);
  return app;
}

async function addDocuments(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Cistern operator API',
        description:
          'Sizes are bytes, times ISO 8601, ids as people see them (n3, d7, v5, j4). Every error is an `Error`.',
        version,
      },
    },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) =>
        typeof json['$id'] === 'string' ? json['$id'] : `Schema${index}`,
    },
  });
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true });
}

function listenError(options: ApiOptions, error: unknown): StorageError {
  const address = `${options.host}:${options.port}`;
  const code = (error as NodeJS.ErrnoException).code;
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: 'another process has this port; stop that process, or choose another port',
    EACCES: 'this user may not listen there; choose a port above 1023',
    EADDRNOTAVAIL: 'this machine has no such address',
  };
  const reason = reasons[code ?? ''] ?? describeError(error);
  return new StorageError(
    'unavailable',
    `Listening for the API on "${address}" failed: ${reason}`,
    { address, code: code ?? null },
    error,
  );
}

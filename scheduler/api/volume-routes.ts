/**
 * Commands on volumes: create, change, delete, attach, detach. Attach, detach and delete take effect over
 * time; the answer waits for it, bounded by `?wait=`, and is 202 with the present state when it is not
 * there by then. They may be repeated: a second attach to the same node answers with the same URIs.
 */
import type { FastifyInstance, FastifyReply } from 'fastify';
import { StorageError } from '../../shared/base/errors.ts';
import type { NodeId } from '../../shared/base/ids.ts';
import { REPLICAS_MAX, VOLUME_BYTES_MAX, VOLUME_BYTES_MIN } from '../../shared/base/units.ts';
import type { AttachmentView, VolumeView } from '../../shared/model/api-views.ts';
import { DURABILITIES, type Durability } from '../../shared/model/cluster-map.ts';
import { run, runWithin } from './execution.ts';
import type { JsonSchema } from './json-schema.ts';
import { described, flag, objectSchema, ref } from './json-schema.ts';
import type { ManagerPort } from './manager-port.ts';
import {
  findAttachment,
  findVolume,
  getNode,
  getVolume,
  nodeIdOf,
  volumeIdOf,
} from './references.ts';
import { errorResponses, pathParameter } from './route-schema.ts';
import { WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX, waitUntil } from './waiting.ts';

const params = pathParameter('volume', 'Id (v5) or name');

const DURABILITY_MEANING =
  'flush (default): writes go through to the disks until the first flush shows that the client flushes; writethrough: always';

const waitQuery: JsonSchema = objectSchema(
  {
    wait: {
      type: 'integer',
      minimum: 0,
      maximum: WAIT_SECONDS_MAX,
      description: `Seconds to wait for the outcome; ${WAIT_SECONDS_DEFAULT} when not given`,
    },
  },
  [],
);

const waitAndForceQuery: JsonSchema = {
  ...waitQuery,
  properties: { ...(waitQuery['properties'] as object), force: flag },
};

interface WaitQuery {
  readonly wait?: number;
}

/** Ends with the connection of the caller: nobody reads the answer then. */
function callerSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.on('close', () => controller.abort());
  return controller.signal;
}

function waitMs(query: WaitQuery): number {
  return (query.wait ?? WAIT_SECONDS_DEFAULT) * 1000;
}

export function addVolumeCommands(app: FastifyInstance, manager: ManagerPort): void {
  addCreate(app, manager);
  addUpdate(app, manager);
  addDelete(app, manager);
  addAttach(app, manager);
  addDetach(app, manager);
}

interface CreateBody {
  readonly name: string;
  readonly sizeBytes: number;
  readonly replicas?: number | null;
  readonly pool?: string | null;
  readonly durability?: Durability | null;
}

function addCreate(app: FastifyInstance, manager: ManagerPort): void {
  app.post<{ Body: CreateBody }>(
    '/volumes',
    {
      schema: {
        tags: ['volumes'],
        summary: 'Create a volume; it is thin: space is taken as data is written',
        body: objectSchema(
          {
            name: { type: 'string', minLength: 1, maxLength: 255 },
            sizeBytes: { type: 'integer', minimum: VOLUME_BYTES_MIN, maximum: VOLUME_BYTES_MAX },
            replicas: {
              type: ['integer', 'null'],
              minimum: 1,
              maximum: REPLICAS_MAX,
              description: "The pool's default when not given",
            },
            pool: described({ type: ['string', 'null'] }, 'The default pool when not given'),
            durability: described({ enum: [...DURABILITIES, null] }, DURABILITY_MEANING),
          },
          ['name', 'sizeBytes'],
        ),
        response: { 201: { description: 'Created', ...ref('Volume') }, ...errorResponses },
      },
    },
    async (request, reply) => {
      const { name, sizeBytes, replicas = null, pool = null, durability = null } = request.body;
      await run(manager, { kind: 'create-volume', name, sizeBytes, replicas, pool, durability });
      const volume = getVolume(manager, name);
      return reply.status(201).header('location', `/v1/volumes/${volume.id}`).send(volume);
    },
  );
}

interface UpdateBody {
  readonly durability?: Durability;
}

function addUpdate(app: FastifyInstance, manager: ManagerPort): void {
  app.patch<{ Params: { volume: string }; Body: UpdateBody }>(
    '/volumes/:volume',
    {
      schema: {
        tags: ['volumes'],
        summary: 'Change settings of a volume; also while it is attached',
        params,
        body: objectSchema(
          { durability: described({ enum: [...DURABILITIES] }, DURABILITY_MEANING) },
          [],
        ),
        response: { 200: { description: 'As it is now', ...ref('Volume') }, ...errorResponses },
      },
    },
    async (request, reply) => {
      const volume = getVolume(manager, request.params.volume);
      const changes = request.body;
      await run(manager, { kind: 'update-volume', volume: volumeIdOf(volume), changes });
      return reply.send(getVolume(manager, volume.id));
    },
  );
}

function addDelete(app: FastifyInstance, manager: ManagerPort): void {
  app.delete<{ Params: { volume: string }; Querystring: WaitQuery & { force?: boolean } }>(
    '/volumes/:volume',
    {
      schema: {
        tags: ['volumes'],
        summary: 'Delete a volume and everything on it; an attached one only with `force=true`',
        params,
        querystring: waitAndForceQuery,
        response: {
          202: { description: 'Space is being given back', ...ref('Volume') },
          204: { description: 'Gone', type: 'null' },
          ...errorResponses,
        },
      },
    },
    async (request, reply) => {
      const volume = getVolume(manager, request.params.volume);
      await run(manager, {
        kind: 'delete-volume',
        volume: volumeIdOf(volume),
        isForced: request.query.force ?? false,
      });
      await waitUntil(manager, () => (findVolume(manager, volume.id) === undefined ? true : null), {
        waitMs: waitMs(request.query),
        signal: callerSignal(reply),
      });
      const rest = findVolume(manager, volume.id);
      return rest === undefined ? reply.status(204).send() : reply.status(202).send(rest);
    },
  );
}

interface AttachBody {
  readonly node?: string | null;
  readonly force?: boolean;
}

function addAttach(app: FastifyInstance, manager: ManagerPort): void {
  app.post<{ Params: { volume: string }; Body: AttachBody; Querystring: WaitQuery }>(
    '/volumes/:volume/attach',
    {
      schema: {
        tags: ['volumes'],
        summary: 'Attach a volume to a node and wait until it serves',
        params,
        querystring: waitQuery,
        body: objectSchema(
          {
            node: described(
              { type: ['string', 'null'] },
              'Id (n3) or hostname; the cluster picks one when not given',
            ),
            force: described(
              flag,
              'Your word that the node where it is attached now is dead: it is cut off',
            ),
          },
          [],
        ),
        response: {
          200: { description: 'It serves', ...ref('Attachment') },
          202: { description: 'Not yet; `reason` says why', ...ref('Attachment') },
          ...errorResponses,
        },
      },
    },
    async (request, reply) => {
      const volume = getVolume(manager, request.params.volume);
      const given = request.body.node ?? null;
      const serving = await attachAndWait(manager, {
        volume,
        node: given === null ? null : nodeIdOf(getNode(manager, given)),
        isForced: request.body.force ?? false,
        waitMs: waitMs(request.query),
        signal: callerSignal(reply),
      });
      return reply
        .status(serving === null ? 202 : 200)
        .send(serving ?? requireAttachment(manager, volume));
    },
  );
}

interface AttachWish {
  readonly volume: VolumeView;
  readonly node: NodeId | null;
  readonly isForced: boolean;
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

/** The node that has the volume may have died and still hold a lease: asking again moves it, once it may. */
const ASK_AGAIN_MS = 1000;

/** Null when it does not serve in time; then it goes on without us. */
async function attachAndWait(
  manager: ManagerPort,
  wish: AttachWish,
): Promise<AttachmentView | null> {
  const deadlineMs = performance.now() + wish.waitMs;
  const leftMs = (): number => Math.max(0, deadlineMs - performance.now());
  const command = {
    kind: 'attach-volume',
    volume: volumeIdOf(wish.volume),
    node: wish.node,
  } as const;
  let isBegun = await runWithin(manager, { ...command, isForced: wish.isForced }, leftMs());
  for (;;) {
    if (!isBegun) return null;
    const serving = await waitUntil(manager, () => findServing(manager, wish.volume), {
      waitMs: Math.min(leftMs(), ASK_AGAIN_MS),
      signal: wish.signal,
    });
    if (serving !== null || leftMs() === 0 || wish.signal.aborted) return serving;
    if (requireAttachment(manager, wish.volume).state === 'paused') {
      isBegun = await runWithin(manager, { ...command, isForced: false }, leftMs());
    }
  }
}

function findServing(manager: ManagerPort, volume: VolumeView): AttachmentView | null {
  const attachment = requireAttachment(manager, volume);
  return attachment.state === 'serving' ? attachment : null;
}

/** Throws when somebody detached or deleted the volume while we waited. */
function requireAttachment(manager: ManagerPort, volume: VolumeView): AttachmentView {
  const attachment = findAttachment(manager, volume.id);
  if (attachment !== undefined) return attachment;
  throw new StorageError(
    'conflict',
    `Volume "${volume.name}" is not attached: its node is not up yet, or somebody else detached it meanwhile; attach it again`,
    { volume: volume.id },
  );
}

function addDetach(app: FastifyInstance, manager: ManagerPort): void {
  app.post<{ Params: { volume: string }; Body: { force?: boolean }; Querystring: WaitQuery }>(
    '/volumes/:volume/detach',
    {
      schema: {
        tags: ['volumes'],
        summary: 'Detach a volume and wait until it is free',
        params,
        querystring: waitQuery,
        body: objectSchema(
          { force: described(flag, 'Also when its node does not answer: it is cut off') },
          [],
        ),
        response: {
          200: { description: 'Detached', ...ref('Volume') },
          202: { description: 'Not yet', ...ref('Volume') },
          ...errorResponses,
        },
      },
    },
    async (request, reply) => {
      const volume = getVolume(manager, request.params.volume);
      const command = {
        kind: 'detach-volume',
        volume: volumeIdOf(volume),
        isForced: request.body.force ?? false,
      } as const;
      // Begun or not: what counts is whether the attachment is gone in the end.
      await runWithin(manager, command, waitMs(request.query));
      const isFree = await waitUntil(
        manager,
        () => (findAttachment(manager, volume.id) === undefined ? true : null),
        { waitMs: waitMs(request.query), signal: callerSignal(reply) },
      );
      return reply.status(isFree === null ? 202 : 200).send(getVolume(manager, volume.id));
    },
  );
}

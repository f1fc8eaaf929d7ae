/**
 * Files over HTTP: the dashboard (small, read once) and the executor's artefact (large, streamed, with
 * its SHA-256 for the Mesos fetcher). Only names that are in the given directory are known at all,
 * so no path can lead out of it.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { describeError, StorageError } from '../../shared/base/errors.ts';
import { describeRoute, pathParameter } from './route-schema.ts';

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  map: 'application/json',
};

/** Nothing from elsewhere, nothing inline, in nobody's frame. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** Serves `directory` at `/`, with `index.html` as the page. Throws `not-found` when it is not built. */
export async function addDashboard(app: FastifyInstance, directory: string): Promise<void> {
  const names = await listFiles(directory, 'dashboard');
  if (!names.includes('index.html')) {
    throw new StorageError(
      'not-found',
      `The dashboard in "${directory}" has no index.html; build it with "npm run build"`,
      { directory },
    );
  }
  for (const name of names) {
    const content = await readFile(join(directory, name));
    const etag = `"${sha256(content).slice(0, 32)}"`;
    const type = CONTENT_TYPES[name.slice(name.lastIndexOf('.') + 1)] ?? 'application/octet-stream';
    app.get(
      name === 'index.html' ? '/' : `/${name}`,
      { schema: { hide: true } },
      async (request, reply) => {
        void reply.headers({
          etag,
          // The name stays when the content changes: ask each time, send rarely.
          'cache-control': 'no-cache',
          'content-security-policy': CONTENT_SECURITY_POLICY,
          'x-content-type-options': 'nosniff',
          'referrer-policy': 'no-referrer',
        });
        if (request.headers['if-none-match'] === etag) return reply.status(304).send();
        return reply.type(type).send(content);
      },
    );
  }
}

/** Serves the files of `directory` at `/executor/`. They are looked up anew for every request. */
export function addArtefacts(app: FastifyInstance, directory: string): void {
  const digests = new Map<string, string>();
  app.route<{ Params: { file: string } }>({
    method: ['GET', 'HEAD'],
    url: '/executor/:file',
    schema: describeRoute(
      'executor',
      'The executor that agents fetch',
      { type: 'string', format: 'binary' },
      { params: pathParameter('file', 'Name') },
    ),
    handler: async (request, reply) =>
      sendArtefact(reply, { directory, name: request.params.file, digests }),
  });
}

interface ArtefactRequest {
  readonly directory: string;
  readonly name: string;
  /** By name, length and time of change: a replaced file is digested anew. */
  readonly digests: Map<string, string>;
}

async function sendArtefact(reply: FastifyReply, { directory, name, digests }: ArtefactRequest) {
  const names = await listFiles(directory, 'executor');
  if (!names.includes(name)) {
    throw new StorageError('not-found', `No executor file is called "${name}"`, {
      field: 'file',
      given: name,
      allowed: names,
    });
  }
  const path = join(directory, name);
  const { size, mtimeMs } = await lstat(path);
  const key = `${name}/${size}/${mtimeMs}`;
  let digest = digests.get(key);
  if (digest === undefined) {
    digest = await digestFile(path);
    digests.clear();
    digests.set(key, digest);
  }
  void reply.headers({
    'content-length': size,
    'content-type': 'application/octet-stream',
    'x-content-sha256': digest,
    etag: `"${digest}"`,
  });
  if (reply.request.method === 'HEAD') return reply.send();
  // `end` keeps the promise of content-length when the file grows meanwhile.
  return reply.send(createReadStream(path, size === 0 ? {} : { end: size - 1 }));
}

/** Regular files right in `directory`: no folders, no links, nothing hidden. */
async function listFiles(directory: string, what: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
      .map((entry) => entry.name);
  } catch (error) {
    const reason = describeError(error);
    throw new StorageError(
      'not-found',
      `Reading the ${what} files in "${directory}" failed: ${reason}`,
      { directory },
      error,
    );
  }
}

function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

async function digestFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(path)) hash.update(part as Uint8Array);
  return hash.digest('hex');
}

/**
 * Brings the artefacts of a command (CommandInfo.uris) into a sandbox: local paths and http(s),
 * made executable, unpacked or renamed as asked.
 */

import { execFile } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { chmod, copyFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { StorageError } from '../../shared/base/errors.ts';
import type { CommandUri } from '../../shared/mesos/messages.ts';

const execute = promisify(execFile);

/** Unpackers by the end of the file name, as Mesos knows them. */
const UNPACKERS: readonly (readonly [RegExp, (file: string, sandbox: string) => string[]])[] = [
  [/\.(tar|tar\.gz|tgz|tar\.bz2|tbz2|tar\.xz|txz)$/, (f, dir) => ['tar', '-C', dir, '-xf', f]],
  [/\.zip$/, (file, directory) => ['unzip', '-o', '-d', directory, file]],
  [/\.gz$/, (file) => ['gzip', '-d', '-k', '-f', file]],
];

/** Rejects when any of them cannot be had. */
export async function fetchUris(
  uris: readonly CommandUri[],
  sandbox: string,
  signal: AbortSignal,
): Promise<void> {
  for (const uri of uris) await fetchUri(uri, sandbox, signal);
}

async function fetchUri(uri: CommandUri, sandbox: string, signal: AbortSignal): Promise<void> {
  const name = uri.output_file ?? basename(new URL(uri.value, 'file:///').pathname);
  const target = join(sandbox, name);
  if (/^https?:/.test(uri.value)) await download(uri.value, target, signal);
  else if (uri.value.startsWith('file://')) await copyFile(fileURLToPath(uri.value), target);
  else if (uri.value.startsWith('/')) await copyFile(uri.value, target);
  else throw new StorageError('invalid-argument', `Failed to fetch "${uri.value}": relative path`);
  if (uri.executable === true) await chmod(target, 0o755);
  else if (uri.extract !== false) await unpack(target, sandbox);
}

async function download(url: string, target: string, signal: AbortSignal): Promise<void> {
  const response = await fetch(url, { signal });
  if (!response.ok || response.body === null) {
    throw new StorageError('unavailable', `Failed to fetch "${url}": HTTP ${response.status}`);
  }
  await pipeline(Readable.fromWeb(response.body), createWriteStream(target));
}

async function unpack(file: string, sandbox: string): Promise<void> {
  const unpacker = UNPACKERS.find(([pattern]) => pattern.test(file));
  if (unpacker === undefined) return;
  const [command, ...parameters] = unpacker[1](file, sandbox);
  if (command !== undefined) await execute(command, parameters);
}

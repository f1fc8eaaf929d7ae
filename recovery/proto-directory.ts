/** Where the definitions of the control link lie: `proto/`, some levels above the compiled module. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { StorageError } from '../shared/base/errors.ts';

export function findProtoDirectory(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; folder !== dirname(folder); folder = dirname(folder)) {
    const candidate = join(folder, 'proto');
    if (existsSync(join(candidate, 'cistern', 'control.proto'))) return candidate;
  }
  throw new StorageError('not-found', `No folder "proto" above "${start}"`);
}

/** Reproducible archives: the same content gives the same bytes, wherever and whenever it is packed. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Packs `folder` of `directory` into `directory/NAME-CHECKSUM.tar.gz`. Returns the file's name, SHA-256 and
 * length in bytes.
 */
export function pack(directory, folder, name) {
  const archive = execFileSync(
    'tar',
    ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '-cf', '-', folder],
    { cwd: directory, maxBuffer: 1 << 30 },
  );
  const packed = execFileSync('gzip', ['-n', '-6'], { input: archive, maxBuffer: 1 << 30 });
  const sha256 = createHash('sha256').update(packed).digest('hex');
  const file = `${name}-${sha256.slice(0, 12)}.tar.gz`;
  // A reader never sees half of it.
  writeFileSync(join(directory, `.${file}`), packed);
  renameSync(join(directory, `.${file}`), join(directory, file));
  return { file, sha256, sizeBytes: statSync(join(directory, file)).size };
}

/**
 * Packs what a machine needs to run Cistern, and nothing that builds it: one archive with the programs, the
 * npm packages, this Node.js, and the executor that agents fetch; beside it its checksum, as `sha256sum -c`
 * reads it. Both names stay the same from release to release, because Marathon's app definition names them.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pack } from './archive.mjs';
import { copyProductionPackages } from './production-packages.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const output = join(root, 'dist', 'release');
const stage = join(output, 'cistern');
/** Parts of dist/ that run in production. */
const PROGRAMS = ['cli', 'dashboard', 'dev', 'executor', 'recovery', 'scheduler', 'shared'];

rmSync(output, { recursive: true, force: true });
mkdirSync(join(stage, 'runtime', 'bin'), { recursive: true });
execFileSync(process.execPath, [join(root, 'scripts/build.mjs'), '--if-needed'], {
  stdio: 'inherit',
});
for (const name of ['bin', 'proto', 'package.json', 'marathon.json']) {
  cpSync(join(root, name), join(stage, name), { recursive: true });
}
for (const program of PROGRAMS) {
  cpSync(join(root, 'dist', program), join(stage, 'dist', program), { recursive: true });
}
const artefact = join(stage, 'dist', 'artefact');
execFileSync(process.execPath, [join(root, 'scripts/build-artefact.mjs'), '--release', artefact], {
  stdio: 'inherit',
});
const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
copyProductionPackages(root, Object.keys(dependencies), join(stage, 'node_modules'));
const node = join(stage, 'runtime', 'bin', 'node');
cpSync(realpathSync(process.execPath), node);
chmodSync(node, 0o755);

const { file, sha256, sizeBytes } = pack(output, 'cistern', 'cistern');
rmSync(stage, { recursive: true });
renameSync(join(output, file), join(output, 'cistern.tar.gz'));
writeFileSync(join(output, 'cistern.sha256'), `${sha256}  cistern.tar.gz\n`);
console.log(`dist/release/cistern.tar.gz, ${Math.round(sizeBytes / 1e6)} MB, SHA-256 ${sha256}`);

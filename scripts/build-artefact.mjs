/**
 * Packs the executor for Mesos' fetcher: one bundled module, the protocol definitions it reads, and the few
 * packages with native parts. The archive is reproducible; its name carries its checksum, and
 * manifest.json repeats it for the scheduler. `--release DIR` builds there instead of dist/artefact, and packs
 * this Node.js beside it.
 */
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { pack } from './archive.mjs';
import { copyProductionPackages, NATIVE_SOURCES } from './production-packages.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const releaseAt = process.argv.indexOf('--release');
const isRelease = releaseAt > 0;
const output = isRelease ? process.argv[releaseAt + 1] : join(root, 'dist', 'artefact');
const stage = join(output, 'cistern-executor');
/** Packages that load a native library from beside themselves: they cannot be bundled. */
const NATIVE = ['lmdb', '@node-rs/crc32', 'koffi'];

rmSync(output, { recursive: true, force: true });
mkdirSync(stage, { recursive: true });

await build({
  entryPoints: [join(root, 'executor/main.ts')],
  outfile: join(stage, 'executor.mjs'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  external: NATIVE,
  legalComments: 'none',
  logLevel: 'warning',
  // Bundled CommonJS packages call require() for Node's own modules.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
});
cpSync(join(root, 'proto', 'cistern'), join(stage, 'proto', 'cistern'), { recursive: true });
copyProductionPackages(root, NATIVE, join(stage, 'node_modules'), NATIVE_SOURCES);
writeFileSync(join(stage, 'package.json'), '{ "type": "module" }\n');

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const executor = pack(output, 'cistern-executor', `cistern-executor-${version}`);
rmSync(stage, { recursive: true });
const manifest = {
  version: `${version}-${executor.sha256.slice(0, 12)}`,
  ...executor,
  runtime: isRelease ? packRuntime() : null,
};
writeFileSync(join(output, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);

/** The Node.js that runs this, for agents that have none: a file of its own, since it changes rarely. */
function packRuntime() {
  const folder = join(output, 'cistern-node');
  mkdirSync(join(folder, 'bin'), { recursive: true });
  cpSync(realpathSync(process.execPath), join(folder, 'bin', 'node'));
  chmodSync(join(folder, 'bin', 'node'), 0o755);
  const name = `cistern-node-${process.version}-${process.platform}-${process.arch}`;
  const packed = pack(output, 'cistern-node', name);
  rmSync(folder, { recursive: true });
  return packed;
}

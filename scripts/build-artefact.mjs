/**
 * Packs the executor for Mesos' fetcher: one bundled module, the protocol definitions it reads, and the few
 * packages with native parts. The archive is reproducible; its name carries its checksum, and
 * manifest.json repeats it for the scheduler.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const output = join(root, 'dist', 'artefact');
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
copyPackages();
writeFileSync(join(stage, 'package.json'), '{ "type": "module" }\n');

const archive = execFileSync(
  'tar',
  [
    '--sort=name',
    '--mtime=@0',
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '-cf',
    '-',
    'cistern-executor',
  ],
  { cwd: output, maxBuffer: 1 << 30 },
);
const packed = execFileSync('gzip', ['-n', '-6'], { input: archive, maxBuffer: 1 << 30 });
const sha256 = createHash('sha256').update(packed).digest('hex');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const file = `cistern-executor-${version}-${sha256.slice(0, 12)}.tar.gz`;
writeFileSync(join(output, file), packed);
writeFileSync(
  join(output, 'manifest.json'),
  `${JSON.stringify({ version: `${version}-${sha256.slice(0, 12)}`, file, sha256, sizeBytes: packed.length }, null, 2)}\n`,
);
rmSync(stage, { recursive: true });

/** The native packages and what they need at run time, with only this platform's binaries. */
function copyPackages() {
  const pending = [...NATIVE];
  const seen = new Set();
  while (pending.length > 0) {
    const name = pending.pop();
    if (seen.has(name)) continue;
    seen.add(name);
    const source = join(root, 'node_modules', name);
    if (!existsSync(source)) continue; // An optional package of another platform.
    const manifest = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'));
    copyRuntimeFiles(source, join(stage, 'node_modules', name));
    pending.push(...Object.keys(manifest.dependencies ?? {}));
    pending.push(...Object.keys(manifest.optionalDependencies ?? {}));
  }
}

/** C and C++ sources, documentation, type declarations and build recipes stay behind. */
function copyRuntimeFiles(source, target) {
  cpSync(source, target, {
    recursive: true,
    filter: (path) => {
      const name = path.slice(source.length);
      if (
        /^\/(src|deps|dependencies|vendor|doc|docs|test|tests|benchmark|assets|rust|\.github)(\/|$)/.test(
          name,
        )
      )
        return false;
      return (
        statSync(path).isDirectory() || !/\.(md|ts|cts|mts|map|cc|cpp|c|h|hh|gyp|txt)$/.test(name)
      );
    },
  });
}

/**
 * Builds everything into dist/: TypeScript with tsc, the dashboard, and the executor artefact.
 * `--if-needed` does nothing when no source is newer than the last build; `--is-needed` only says so, by
 * its exit status (0: needed), and needs no npm package.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stamp = join(root, 'dist', '.built');
const SOURCES = [
  'shared',
  'scheduler',
  'executor',
  'cli',
  'dev',
  'recovery',
  'bench',
  'test',
  'dashboard',
  'proto',
  'scripts',
];
const FILES = ['package.json', 'tsconfig.json'];

if (process.argv.includes('--is-needed')) process.exit(isStale() ? 0 : 1);
if (process.argv.includes('--if-needed') && !isStale()) process.exit(0);

run('types and modules', process.execPath, [
  join(root, 'node_modules/typescript/bin/tsc'),
  '-p',
  '.',
]);
run('dashboard', process.execPath, [join(root, 'scripts/build-dashboard.mjs')]);
run('executor artefact', process.execPath, [join(root, 'scripts/build-artefact.mjs')]);
mkdirSync(dirname(stamp), { recursive: true });
writeFileSync(stamp, '');

function run(what, command, args) {
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.status !== 0) {
    console.error(`Build failed at: ${what}`);
    process.exit(1);
  }
}

function isStale() {
  if (!existsSync(stamp)) return true;
  const builtAt = statSync(stamp).mtimeMs;
  return (
    FILES.some((file) => statSync(join(root, file)).mtimeMs > builtAt) ||
    SOURCES.some((folder) => isNewer(join(root, folder), builtAt))
  );
}

function isNewer(path, builtAt) {
  if (!existsSync(path)) return false;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    if (entry.isDirectory() ? isNewer(child, builtAt) : statSync(child).mtimeMs > builtAt)
      return true;
  }
  return false;
}

/**
 * Builds the dashboard into dist/dashboard (or `--out FOLDER`): checks its types, bundles the script
 * and the styles with esbuild, and copies the page. Nothing in it comes from elsewhere at run time.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = process.argv.indexOf('--out');
const output = resolve(at === -1 ? join(root, 'dist', 'dashboard') : (process.argv[at + 1] ?? ''));

const types = spawnSync(
  process.execPath,
  [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, 'dashboard')],
  { cwd: root, stdio: ['ignore', 2, 2] },
);
if (types.status !== 0) process.exit(1);

rmSync(output, { recursive: true, force: true });
mkdirSync(output, { recursive: true });
await build({
  entryPoints: {
    app: join(root, 'dashboard/main.ts'),
    styles: join(root, 'dashboard/styles.css'),
  },
  outdir: output,
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['chrome109', 'firefox115', 'safari16'],
  legalComments: 'none',
  logLevel: 'warning',
});
copyFileSync(join(root, 'dashboard/index.html'), join(output, 'index.html'));

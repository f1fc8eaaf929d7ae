/**
 * Runs the test kinds one after the other, each in a process of its own, and adds up their results.
 * Arguments name kinds (`unit`, `e2e`, …); without any, all run. The last line is
 * `N passed, N failed`.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Cheap first: a typo should not cost ten minutes. */
const KINDS = ['tidy', 'unit', 'contract', 'scenarios', 'simulation', 'integration', 'e2e'];
const results = join(root, '.build', 'results');
mkdirSync(results, { recursive: true });

const kinds = process.argv.length > 2 ? process.argv.slice(2) : KINDS;
let passed = 0;
let failed = 0;
for (const kind of kinds) {
  const folder = join(root, 'dist', 'test', kind);
  if (!hasTests(folder)) continue;
  const report = join(results, `${kind}.json`);
  const startedAt = Date.now();
  console.log(`── ${kind}`);
  const run = spawnSync(
    process.execPath,
    [
      join(root, 'node_modules/mocha/bin/mocha.js'),
      '--reporter',
      join(root, 'scripts/mocha-reporter.cjs'),
      '--reporter-option',
      `output=${report}`,
      `dist/test/${kind}/**/*.test.js`,
    ],
    { cwd: root, stdio: 'inherit' },
  );
  const counts = existsSync(report)
    ? JSON.parse(readFileSync(report, 'utf8'))
    : { passed: 0, failed: 0 };
  passed += counts.passed;
  // A process that died without its report counts as a failure of its own.
  failed += run.status === 0 ? counts.failed : Math.max(1, counts.failed);
  console.log(
    `   ${counts.passed} passed, ${counts.failed} failed in ${Math.round((Date.now() - startedAt) / 1000)} s`,
  );
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

function hasTests(folder) {
  if (!existsSync(folder)) return false;
  return readdirSync(folder, { recursive: true }).some((name) => String(name).endsWith('.test.js'));
}

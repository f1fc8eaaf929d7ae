/**
 * Runs the test kinds, each in a process of its own, and adds up their results. Cheap kinds come first, so
 * that a typo does not cost ten minutes; then those that compute and those that mostly wait for other
 * processes run side by side, each line behind its kind's name. Arguments name kinds (`unit`, `e2e`, …);
 * without any, all run. The last line is `N passed, N failed`.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Stages run one after the other, the lanes of a stage side by side, the kinds of a lane in order. */
const STAGES = [
  [['tidy', 'unit']],
  [['contract', 'scenarios', 'simulation'], ['integration'], ['availability', 'e2e']],
];
const results = join(root, '.build', 'results');
mkdirSync(results, { recursive: true });

const wanted = process.argv.length > 2 ? process.argv.slice(2) : STAGES.flat(2);
let passed = 0;
let failed = 0;
for (const lanes of STAGES) await Promise.all(lanes.map(runLane));
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

async function runLane(kinds) {
  for (const kind of kinds) {
    if (wanted.includes(kind) && hasTests(join(root, 'dist', 'test', kind))) await runKind(kind);
  }
}

async function runKind(kind) {
  const report = join(results, `${kind}.json`);
  rmSync(report, { force: true });
  const startedAt = Date.now();
  const print = (line) => console.log(`${kind.padEnd(11)} │ ${line}`.trimEnd());
  const code = await runMocha(kind, report, print);
  const counts = existsSync(report)
    ? JSON.parse(readFileSync(report, 'utf8'))
    : { passed: 0, failed: 0 };
  // A process that died without its report counts as a failure of its own.
  const failures = code === 0 ? counts.failed : Math.max(1, counts.failed);
  passed += counts.passed;
  failed += failures;
  const seconds = Math.round((Date.now() - startedAt) / 1000);
  print(`${counts.passed} passed, ${failures} failed in ${seconds} s`);
}

function runMocha(kind, report, print) {
  const child = spawn(
    process.execPath,
    [
      join(root, 'node_modules/mocha/bin/mocha.js'),
      '--reporter',
      join(root, 'scripts/mocha-reporter.cjs'),
      '--reporter-option',
      `output=${report}`,
      `dist/test/${kind}/**/*.test.js`,
    ],
    { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  for (const input of [child.stdout, child.stderr]) {
    createInterface({ input }).on('line', (line) => {
      if (line.trim() !== '') print(line);
    });
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
}

function hasTests(folder) {
  if (!existsSync(folder)) return false;
  return readdirSync(folder, { recursive: true }).some((name) => String(name).endsWith('.test.js'));
}

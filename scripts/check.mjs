/** The gate, the same for everybody: types, lint and format, house rules, unit tests. */
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const steps = [
  ['types, dashboard, artefact', ['scripts/build.mjs']],
  ['lint and format', ['node_modules/@biomejs/biome/bin/biome', 'check', '.']],
  [
    'house rules, unit tests, contracts, scenarios',
    [
      'node_modules/mocha/bin/mocha.js',
      ...['tidy', 'unit', 'contract', 'scenarios'].map((kind) => `dist/test/${kind}/**/*.test.js`),
    ],
  ],
];
for (const [what, [script, ...rest]] of steps) {
  console.log(`── ${what}`);
  const result = spawnSync(process.execPath, [join(root, script), ...rest], {
    cwd: root,
    stdio: 'inherit',
  });
  if (result.status !== 0) {
    console.error(`Check failed at: ${what}`);
    process.exit(1);
  }
}
console.log('Check passed');

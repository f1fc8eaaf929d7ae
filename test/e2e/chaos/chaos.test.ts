// A short chaos run with pinned faults: processes, links, rot, and everything at once, under verified load.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { ChaosReport } from '../../chaos/run.ts';
import { DIST, TEST_TIMEOUT_MS } from '../../integration/cluster/harness.ts';

const SEED = 11;
const SCRIPT = 'kill-data+cut-pair+stop-scheduler,flip-bytes,kill-everything';
const OUTPUT_TAIL = 6_000;

describe('chaos: a short run', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let directory: string;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'cistern-chaos-test-'));
  });

  after(() => rmSync(directory, { recursive: true, force: true }));

  it(`processes, links, rot, everything at once: nothing lost, healed by itself (seed ${SEED})`, async () => {
    const json = join(directory, 'report.json');
    const program = join(DIST, 'test', 'chaos', 'main.js');
    const child = spawn(
      process.execPath,
      [program, `--seed=${SEED}`, '--agents=3', `--script=${SCRIPT}`, `--json=${json}`],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output = (output + chunk.toString()).slice(-OUTPUT_TAIL);
      });
    }
    const deadline = setTimeout(() => child.kill('SIGTERM'), TEST_TIMEOUT_MS - 10_000);
    const code = await new Promise((resolve) => child.on('close', resolve));
    clearTimeout(deadline);
    expect(code, output).to.equal(0);
    const report = JSON.parse(readFileSync(json, 'utf8')) as ChaosReport;
    expect(report.failure).to.equal(null);
    expect(report.rounds).to.equal(3);
    for (const [name, figures] of Object.entries(report.clients)) {
      const work = (figures['writes'] ?? 0) + (figures['commits'] ?? 0);
      expect(work, `writes of ${name}`).to.be.above(0);
    }
  });
});

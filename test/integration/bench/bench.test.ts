import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { readSettings } from '../../../bench/settings.ts';
import { spreadOf } from '../../../bench/spread.ts';

/** Starts a dozen processes on a machine that may be busy with other tests. */
const DEADLINE_MS = 240_000;

const output = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `temporary` takes the place of the system's folder for temporary files. */
function runBench(temporary: string, ...options: string[]): Promise<Outcome> {
  const child = spawn(process.execPath, [join(output, 'bench', 'main.js'), ...options], {
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

describe('bench', () => {
  let folder = '';
  beforeEach(() => {
    // Short: the volume's socket lies below it.
    folder = mkdtempSync(join(tmpdir(), 'cb-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('bench: smallest run, all figures in the file and nothing left behind', async function () {
    this.timeout(DEADLINE_MS);
    const json = join(folder, 'figures.json');
    const tiny = ['--size=8', '--seconds=0.2', '--rounds=1', '--jobs=depth', `--json=${json}`];
    const { code, stdout, stderr } = await runBench(folder, ...tiny);

    expect(code, stderr).to.equal(0);
    expect(stdout).to.contain('4K random write, depth 16').and.to.contain('qemu-nbd');
    const figures = JSON.parse(readFileSync(json, 'utf8'));
    expect(figures).to.include({ sizeBytes: 8 * 1024 ** 2, seconds: 0.2, rounds: 1 });
    expect(figures.machine).to.include.keys('commit', 'node', 'kernel', 'processors');
    expect(figures.jobs).to.have.length(6);
    for (const result of figures.jobs) {
      const { name } = result.job;
      expect(result.ratio.median, name).to.be.greaterThan(0);
      expect(result.ratio.min, name).to.be.at.most(result.ratio.max);
      expect(result.rounds, name).to.have.length(1);
      for (const side of ['cistern', 'qemu']) {
        for (const figure of ['operationsPerSecond', 'bytesPerSecond', 'latencyUs99']) {
          expect(result[side][figure], `${name}: ${side} ${figure}`).to.be.greaterThan(0);
        }
        expect(result[side].cpuMsPerThousand, `${name}: ${side} CPU`).to.be.at.least(0);
        expect(result.rounds[0][side].operations, `${name}: ${side}`).to.be.greaterThan(0);
      }
    }
    const roles: string[] = figures.processes.map(({ role }: { role: string }) => role);
    expect(roles.filter((role) => role.startsWith('data '))).to.have.length(3);
    expect(roles.filter((role) => role.endsWith('(gateway)'))).to.have.length(1);
    expect(roles).to.include.members(['scheduler', 'qemu-nbd']);
    for (const { role, memoryBytes, idleCpuPercent } of figures.processes) {
      expect(memoryBytes, role).to.be.greaterThan(1024 ** 2);
      expect(idleCpuPercent, role).to.be.at.least(0);
    }
    expect(readdirSync(folder)).to.deep.equal(['figures.json']);
  });

  it('bench: unknown job, refused before anything is started', async function () {
    this.timeout(DEADLINE_MS);
    const { code, stderr } = await runBench(folder, '--jobs=no such job');

    expect(code).to.equal(1);
    expect(stderr).to.contain('--jobs').and.to.contain('no such job');
    expect(readdirSync(folder)).to.deep.equal([]);
  });

  it('bench: --quick, shorter than the usual settings', () => {
    const usual = readSettings([]);
    const quick = readSettings(['--quick']);

    expect(quick.seconds * quick.rounds).to.be.lessThan(usual.seconds * usual.rounds);
    expect(quick.jobs).to.deep.equal(usual.jobs);
  });

  it('bench: median and range of figures, in any order', () => {
    expect(spreadOf([3, 1, 2])).to.deep.equal({ median: 2, min: 1, max: 3 });
    expect(spreadOf([4, 1])).to.deep.equal({ median: 2.5, min: 1, max: 4 });
    expect(() => spreadOf([])).to.throw();
  });
});

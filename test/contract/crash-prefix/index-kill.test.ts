// The real index under SIGKILL: a commit that was reported is there, one under way is there whole or not at all.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import { LinuxIndex } from '../../../shared/node/linux-index.ts';
import { KEYS, keyOf, valueAfter } from './index-changes.ts';

const WRITER = fileURLToPath(new URL('index-writer.js', import.meta.url));
const ROUNDS = 8;
/** Of commits before the kill: some milliseconds of them. */
const COMMITS_MAX = 40;

describe('crash prefix: the index of a process that is killed', () => {
  it(`SIGKILL at random points of commits, ${ROUNDS} times: all or nothing, and nothing reported is lost`, async () => {
    const path = mkdtempSync(join(tmpdir(), 'cistern-index-'));
    const prng = new Prng('index kill');
    try {
      let last = 0;
      for (let round = 0; round < ROUNDS; round += 1) {
        const reported = await killAfter(path, last, prng.between(1, COMMITS_MAX), prng);
        last = await numberIn(path, reported);
      }
      expect(last, 'there was something to kill').to.be.above(ROUNDS);
    } finally {
      rmSync(path, { recursive: true, force: true });
    }
  }).timeout(120_000);
});

/** Lets the writer report so many commits, kills it within the next ones; the last reported number. */
async function killAfter(path: string, from: number, commits: number, prng: Prng): Promise<number> {
  const child: ChildProcess = spawn(process.execPath, [WRITER, path, String(from)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  let isKilled = false;
  const spins = prng.below(200_000);
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    if (isKilled || text.split('\n').length - 1 < commits) return;
    isKilled = true;
    // Part of a commit's time, without the milliseconds of a timer.
    for (let spin = 0; spin < spins; spin += 1) text.charCodeAt(spin);
    child.kill('SIGKILL');
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  expect(signal, `the writer ended by itself with ${code}`).to.equal('SIGKILL');
  const lines = text.split('\n');
  return Number(lines[lines.length - 2]);
}

/** The number of the commit that the index holds, whole. */
async function numberIn(path: string, reported: number): Promise<number> {
  const index = new LinuxIndex(path);
  try {
    const first = index.get(keyOf(0)) ?? index.get(keyOf(1));
    expect(first, 'one of two neighbours is always there').to.not.equal(null);
    const number = Buffer.from(first ?? []).readUInt32LE(0);
    expect(number, 'nothing reported is lost').to.be.at.least(reported);
    for (let key = 0; key < KEYS; key += 1) {
      const expected = valueAfter(key, number);
      const found = index.get(keyOf(key));
      if (expected === null) expect(found, `key ${key} of commit ${number}`).to.equal(null);
      else expect(expected.equals(found ?? Buffer.alloc(0)), `key ${key}`).to.equal(true);
    }
    return number;
  } finally {
    await index.close();
  }
}

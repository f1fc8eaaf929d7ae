// Every decoder under hostile bytes: no crash, bounded memory, an end, and a reason when it refuses.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import { PROJECT_ROOT } from '../../tidy/source-tree.ts';
import { feed, fuzz } from './fuzz-loop.ts';
import { fuzzTarget } from './fuzz-run.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { loadTarget, TARGET_NAMES } from './targets.ts';

const SEED = 1;
/** Beside the truncations, which always come all: a second of work or less on a quiet machine. */
const COUNT = 300;
/** Where an input is a cluster, a store, or some connections. */
const COUNTS: Readonly<Record<string, number>> = {
  gateway: 40,
  manager: 40,
  map: 60,
  replica: 100,
  'socket-onread': 60,
  'socket-data': 60,
  journal: 150,
  index: 150,
  api: 150,
};
/** Inputs that once broke something: `TARGET/what-it-was.bin`. */
const KEPT = join(PROJECT_ROOT, 'test/vectors/fuzz');

describe('fuzz: every decoder', () => {
  for (const target of TARGET_NAMES) {
    it(`${target}: damaged, truncated and hostile input, refused with a reason or taken`, async () => {
      const wanted = COUNTS[target] ?? COUNT;
      const { count, failure } = await fuzzTarget({ target, seed: SEED, count: wanted });
      const input = Buffer.from(failure?.input ?? []).toString('hex');
      expect(failure, `${failure?.reason} on input ${input}`).to.equal(null);
      expect(count, 'inputs').to.be.above(wanted);
    }).timeout(180_000);
  }

  for (const name of readdirSync(KEPT, { recursive: true }).map(String)) {
    if (!name.endsWith('.bin')) continue;
    it(`kept input: ${name}`, async () => {
      const target = await loadTarget(name.split('/')[0] ?? '');
      const reason = await feed(target, readFileSync(join(KEPT, name)), new Prng('input'));
      await target.close?.();
      expect(reason).to.equal(null);
    }).timeout(60_000);
  }
});

describe('fuzz: what is looked for', () => {
  const defect = async (run: FuzzTarget['run']): Promise<string> => {
    const corpus = [Buffer.from('some input')];
    const target: FuzzTarget = { name: 'defect', corpus, memoryBytesMax: 1_000_000, run };
    const options = { target, seed: 1, count: 10, endMs: Number.POSITIVE_INFINITY };
    const { failure } = await fuzz({ ...options, onInput: () => undefined });
    return failure?.reason ?? '';
  };

  it('a decoder that throws: found', async () => {
    const reason = await defect((input) => {
      if (input.length < 5) throw new RangeError('out of bounds');
    });
    expect(reason).to.contain('out of bounds');
  });

  it('a decoder that believes a length: found', async () => {
    const held: Buffer[] = [];
    const reason = await defect(() => {
      held.push(Buffer.allocUnsafeSlow(20_000_000));
    });
    expect(reason).to.match(/took \d{8} bytes of memory/);
  });
});

/** What every metadata store must do (DESIGN 8): one suite for the embedded, the simulated and the real ones. */
import { expect } from 'chai';
import { seedStore } from '../../../scheduler/metadata/seed.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import type { MetadataStore, StoreEntry } from '../../../shared/ports.ts';

export const CANDIDATE = { address: 'http://scheduler:9000' };

export interface Bench {
  readonly name: string;
  /** Several processes may open one store, and stand by. */
  readonly isShared: boolean;
  /** A new, empty store. */
  create(): StoreUnderTest;
}

export interface StoreUnderTest {
  /** A process's view; what it committed is there for the next one. */
  open(): Promise<MetadataStore>;
  /** Lets time pass until `work` is done. */
  run<T>(work: Promise<T>): Promise<T>;
  /** The process that led ends without a word. */
  abandon(store: MetadataStore): Promise<void>;
  dispose(): Promise<void>;
}

export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof StorageError) return error.code;
    throw error;
  }
  return 'no error';
}

/** Text that no compression makes small. */
export function noise(length: number, seed: number): string {
  let state = seed * 2_654_435_761 + 1;
  const chars: string[] = [];
  for (let index = 0; index < length; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    chars.push(String.fromCharCode(48 + ((state >>> 16) % 75)));
  }
  return chars.join('');
}

export function sorted(entries: readonly StoreEntry[]): readonly StoreEntry[] {
  return [...entries].sort((a, b) => (a.key < b.key ? -1 : 1));
}

export function describeStore(bench: Bench): void {
  describe(`metadata store: ${bench.name}`, () => {
    let under: StoreUnderTest;

    beforeEach(() => {
      under = bench.create();
    });

    afterEach(() => under.dispose());

    it('commit: all changes of one call are there afterwards, deletions too', async () => {
      const store = await under.open();
      await under.run(store.campaign(CANDIDATE));
      const { revision, entries } = await under.run(store.load());
      expect(entries).to.deep.equal([]);
      const next = await under.run(
        store.commit(
          [
            { key: 'node/1', value: '{"a":1}' },
            { key: 'node/2', value: '{"ü":"…"}' },
          ],
          revision,
        ),
      );
      await under.run(store.commit([{ key: 'node/1', value: null }], next));
      const after = await under.run(store.load());
      expect(after.entries).to.deep.equal([{ key: 'node/2', value: '{"ü":"…"}' }]);
    });

    it('commit: another revision than expected, refused and nothing changed', async () => {
      const store = await under.open();
      await under.run(store.campaign(CANDIDATE));
      const { revision } = await under.run(store.load());
      await under.run(store.commit([{ key: 'a', value: '1' }], revision));
      expect(await codeOf(under.run(store.commit([{ key: 'a', value: '2' }], revision)))).to.equal(
        'conflict',
      );
      const after = await under.run(store.load());
      expect(after.entries).to.deep.equal([{ key: 'a', value: '1' }]);
    });

    it('commit: larger than any request of the service, and one entry that is, whole', async () => {
      const store = await under.open();
      await under.run(store.campaign(CANDIDATE));
      const entries = Array.from({ length: 300 }, (_, index) => ({
        key: `big/${String(index).padStart(4, '0')}`,
        value: noise(5_000, index),
      }));
      entries.push({ key: 'huge', value: noise(2_000_000, 7) });
      const { revision } = await under.run(store.load());
      const next = await under.run(store.commit(entries, revision));
      const after = await under.run(store.load());
      expect(after.revision).to.equal(next);
      expect(sorted(after.entries)).to.deep.equal(entries);
      await under.run(store.commit([{ key: 'huge', value: 'small' }], next));
      expect((await under.run(store.load())).entries).to.have.lengthOf(301);
    });

    it('campaign: every term is higher than all before, and facts stay', async () => {
      const first = await under.open();
      const { term } = await under.run(first.campaign(CANDIDATE));
      const { revision } = await under.run(first.load());
      await under.run(first.commit([{ key: 'a', value: '1' }], revision));
      await under.abandon(first);
      const second = await under.open();
      expect((await under.run(second.campaign(CANDIDATE))).term).to.be.greaterThan(term);
      const after = await under.run(second.load());
      expect(after.entries).to.deep.equal([{ key: 'a', value: '1' }]);
      await under.run(second.commit([{ key: 'a', value: '2' }], after.revision));
    });

    it('leader: named while it leads, lost settles when it resigns', async () => {
      const store = await under.open();
      expect(await under.run(store.leader())).to.equal(null);
      const { term, lost } = await under.run(store.campaign({ ...CANDIDATE, aboveTerm: 41 }));
      expect(term).to.be.greaterThan(41);
      expect(await under.run(store.leader())).to.deep.equal({ term, ...CANDIDATE });
      await under.run(store.resign());
      expect(await under.run(lost)).to.contain('resigned');
      expect(await under.run(store.leader())).to.equal(null);
    });

    it('commit: after leadership ended, refused', async () => {
      const store = await under.open();
      await under.run(store.campaign(CANDIDATE));
      const { revision } = await under.run(store.load());
      await under.run(store.resign());
      expect(await codeOf(under.run(store.commit([{ key: 'a', value: '1' }], revision)))).to.equal(
        'conflict',
      );
    });

    it('seed: an empty store takes the facts of a lost one, with terms above; others are refused', async () => {
      const store = await under.open();
      const facts = [{ key: 'a', value: '1' }];
      await under.run(seedStore(store, 'it', 70, facts));
      expect(await under.run(store.leader())).to.equal(null);
      const { term } = await under.run(store.campaign(CANDIDATE));
      expect(term).to.be.greaterThan(70);
      expect((await under.run(store.load())).entries).to.deep.equal(facts);
      expect(await codeOf(under.run(seedStore(store, 'it', 0, facts)))).to.equal('conflict');
      await under.run(store.resign());
      expect(await codeOf(under.run(seedStore(store, 'it', 0, facts)))).to.equal('already-exists');
    });

    if (!bench.isShared) return;

    it('standby: reads who leads and one consistent state, and cannot commit', async () => {
      const leading = await under.open();
      const standby = await under.open();
      const { term } = await under.run(leading.campaign(CANDIDATE));
      const { revision } = await under.run(leading.load());
      const next = await under.run(leading.commit([{ key: 'a', value: '1' }], revision));
      expect(await under.run(standby.leader())).to.deep.equal({ term, ...CANDIDATE });
      expect(await under.run(standby.load())).to.deep.equal({
        revision: next,
        entries: [{ key: 'a', value: '1' }],
      });
      expect(await codeOf(under.run(standby.commit([{ key: 'a', value: '2' }], next)))).to.equal(
        'conflict',
      );
    });

    it('deposed leader: its next commit is refused, the new one goes on from its last', async () => {
      const first = await under.open();
      await under.run(first.campaign(CANDIDATE));
      const { revision } = await under.run(first.load());
      const next = await under.run(first.commit([{ key: 'a', value: '1' }], revision));
      await under.abandon(first);
      const second = await under.open();
      await under.run(second.campaign({ address: 'http://other:1' }));
      expect((await under.run(second.load())).revision).to.equal(next);
      await under.run(second.commit([{ key: 'a', value: '2' }], next));
      const refused = await codeOf(under.run(first.commit([{ key: 'a', value: '3' }], next)));
      expect(refused).to.equal('conflict');
      expect((await under.run(second.load())).entries).to.deep.equal([{ key: 'a', value: '2' }]);
    });
  });
}

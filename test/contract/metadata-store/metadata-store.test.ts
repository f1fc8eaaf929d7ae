/** What every metadata store must do (DESIGN 8), run on the embedded and on the simulated one. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openEmbeddedStore } from '../../../scheduler/metadata/embedded.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { Prng } from '../../../shared/base/prng.ts';
import type { MetadataStore } from '../../../shared/ports.ts';
import { SimulatedStore } from '../../simulation/simulated-store.ts';
import { VirtualClock } from '../../simulation/virtual-clock.ts';

const CANDIDATE = { address: 'http://scheduler:9000' };

interface Bench {
  readonly name: string;
  /** A new, empty store. */
  create(): StoreUnderTest;
}

interface StoreUnderTest {
  /** A process's view; what it committed is there for the next one. */
  open(): Promise<MetadataStore>;
  /** Lets time pass until `work` is done. */
  run<T>(work: Promise<T>): Promise<T>;
  /** The process that led ends without a word. */
  abandon(store: MetadataStore): Promise<void>;
  dispose(): Promise<void>;
}

const embedded: Bench = {
  name: 'embedded',
  create() {
    const directory = mkdtempSync(join(tmpdir(), 'cistern-store-'));
    const opened: { close(): Promise<void> }[] = [];
    return {
      async open() {
        const store = openEmbeddedStore(directory);
        opened.push(store);
        return store;
      },
      run: (work) => work,
      async abandon() {
        await opened.pop()?.close();
      },
      async dispose() {
        for (const store of opened) await store.close();
        rmSync(directory, { recursive: true, force: true });
      },
    };
  },
};

const simulated: Bench = {
  name: 'simulated',
  create() {
    const clock = new VirtualClock();
    const store = new SimulatedStore(clock, new Prng('contract'));
    return {
      open: async () => store.open(),
      async run(work) {
        let isDone = false;
        const watched = work.finally(() => {
          isDone = true;
        });
        // The caller sees the rejection; this only keeps it from counting as unhandled meanwhile.
        watched.catch(() => undefined);
        await clock.runWhile(() => !isDone, 60_000);
        return watched;
      },
      abandon: async () => undefined,
      dispose: async () => undefined,
    };
  },
};

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof StorageError) return error.code;
    throw error;
  }
  return 'no error';
}

for (const bench of [embedded, simulated]) {
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

    it('campaign: every term is higher than all before, and facts stay', async () => {
      const first = await under.open();
      const { term } = await under.run(first.campaign(CANDIDATE));
      const { revision } = await under.run(first.load());
      await under.run(first.commit([{ key: 'a', value: '1' }], revision));
      await under.abandon(first);
      const second = await under.open();
      expect((await under.run(second.campaign(CANDIDATE))).term).to.be.greaterThan(term);
      expect((await under.run(second.load())).entries).to.deep.equal([{ key: 'a', value: '1' }]);
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
  });
}

describe('metadata store: embedded, its directory', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cistern-store-'));
  });

  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('foreign files: refused, untouched', () => {
    writeFileSync(join(directory, 'letters.txt'), 'dear');
    expect(() => openEmbeddedStore(directory)).to.throw(StorageError, 'letters.txt');
  });

  it('lock of a dead process: taken over', async () => {
    // No process has this id: the kernel's largest is 4194304.
    writeFileSync(join(directory, 'leader.pid'), '4999999 1');
    const store = openEmbeddedStore(directory);
    expect((await store.campaign(CANDIDATE)).term).to.equal(1);
    await store.close();
  });

  it('lock of a living process: refused, names it', async () => {
    // Process 1 lives as long as the machine; an empty start time matches any.
    writeFileSync(join(directory, 'leader.pid'), '1 ');
    const store = openEmbeddedStore(directory);
    expect(await codeOf(store.campaign(CANDIDATE))).to.equal('conflict');
    await store.close();
  });
});

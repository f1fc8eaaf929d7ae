/** The suite of metadata stores on the embedded and the simulated one, and the embedded one's directory. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openEmbeddedStore } from '../../../scheduler/metadata/embedded.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { SimulatedStore } from '../../simulation/simulated-store.ts';
import { VirtualClock } from '../../simulation/virtual-clock.ts';
import { type Bench, CANDIDATE, codeOf, describeStore } from './store-suite.ts';

const embedded: Bench = {
  name: 'embedded',
  isShared: false,
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
  isShared: true,
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

for (const bench of [embedded, simulated]) describeStore(bench);

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

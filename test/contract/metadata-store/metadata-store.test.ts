/** The suite of metadata stores on the embedded and the simulated one, and the embedded one's directory. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openEmbeddedStore } from '../../../scheduler/metadata/embedded.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { SimulatedStore } from '../../simulation/ports/simulated-store.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';
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

  it('lock that another process has taken over: not removed by the one before', async () => {
    const store = openEmbeddedStore(directory);
    await store.campaign(CANDIDATE);
    writeFileSync(join(directory, 'leader.pid'), '1 ');
    await store.close();
    expect(readFileSync(join(directory, 'leader.pid'), 'utf8')).to.equal('1 ');
  });

  it('another process takes the lead between the look at the term and the write: refused', async () => {
    const store = openEmbeddedStore(directory);
    await store.campaign(CANDIDATE);
    const other = spawn(process.execPath, ['--input-type=module', '-e', USURPER], {
      env: { ...process.env, LMDB: import.meta.resolve('lmdb'), DIRECTORY: directory },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    // It holds the write transaction, in which the term is another already, for a moment longer.
    await once(other.stdout, 'data');
    const commit = store.commit([{ key: 'a', value: '1' }], 0);
    expect(await codeOf(commit)).to.equal('conflict');
    await once(other, 'close');
    expect((await store.load()).entries).to.deep.equal([]);
    await store.close();
  });
});

const USURPER = `
  const { open } = await import(process.env.LMDB);
  const { writeSync } = await import('node:fs');
  const database = open({ path: process.env.DIRECTORY, encoding: 'string', mapSize: 4 * 1024 ** 3, noSubdir: false });
  database.transactionSync(() => {
    database.putSync('m/term', '2');
    writeSync(1, 'held');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
  });
  await database.close();
`;

// An SQLite database and synced files on ext4 on a volume, and all machines lose power at once, again and again.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { expect } from 'chai';
import { waitFor } from '../../../dev/demo/api-client.ts';
import { describeError } from '../../../shared/base/errors.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { MiB } from '../../../shared/base/units.ts';
import {
  createFilesystemLoad,
  type FilesystemLoad,
  findMountObstacle,
} from '../../chaos/filesystem-load.ts';
import { Machines } from './power-loss/machines.ts';
import { BlackoutManager, firstMap, VOLUME } from './power-loss/manager.ts';
import { SyncedFiles } from './power-loss/synced-files.ts';

const TEST_TIMEOUT_MS = 300_000;
const PATIENCE_MS = 90_000;
const VOLUME_BYTES = 64 * MiB;
const SEEDS = [1, 2];
/** Power losses of one seed. */
const LIVES = 2;
/** What each of them may leave, drawn so many times; the last one is lived on. */
const OUTCOMES = 2;
/** Before power is lost, there was at least that much work. */
const COMMITS_MIN = 10;
const FILES_MIN = 5;
/** Things that happen to the disks: a few commits. */
const EVENTS_MAX = 500;
/** Opening the stores of all machines and the first reconciled extents. */
const RECOVERY_EVENTS_MAX = 150;
/** Syncs cost nothing there; what is durable, the record knows. */
const MEMORY = '/dev/shm';

class Blackouts {
  readonly #seed: number;
  readonly #prng: Prng;
  readonly #root: string;
  readonly #manager: BlackoutManager;
  readonly #files: SyncedFiles;
  #boots = 0;
  #machines: Machines | null = null;
  #load: FilesystemLoad | null = null;
  #lost = '';
  /** For messages: where it was when it failed. */
  where = 'beginning';

  constructor(seed: number) {
    this.#seed = seed;
    this.#prng = new Prng(`power loss ${seed}`);
    this.#root = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'cistern-power-'));
    this.#manager = new BlackoutManager(firstMap(VOLUME_BYTES), this.#prng.fork('manager'));
    this.#files = new SyncedFiles(join(this.#root, 'mount'), `${seed}`);
  }

  async run(): Promise<void> {
    let outcomes = this.#makeOutcomes(0);
    let machines = this.#start(join(this.#root, 'new'), outcomes);
    expect(await this.#manager.bringUp(machines), 'served').to.equal(true);
    const socket = join(this.#root, 'sockets', `${VOLUME}.sock`);
    const uri = `nbd+unix:///?socket=${socket}`;
    const load = await createFilesystemLoad({ uri, directory: this.#root });
    this.#load = load;
    for (let life = 0; life < LIVES; life += 1) {
      this.where = `life ${life}, working`;
      await this.#work(machines, load);
      await machines.losePower(this.#prng.below(EVENTS_MAX));
      const { next, events } = await machines.dark();
      await this.#files.stop();
      await load.crash();
      this.#lost = `life ${life}, power lost before a ${next} after ${events} events`;
      for (const outcome of outcomes.slice(0, -1)) await this.#look(outcome, load);
      const last = outcomes.at(-1) ?? '';
      const survived = await this.#interrupt(last);
      outcomes = this.#makeOutcomes(life + 1);
      this.where = `${this.#lost}, ${basename(survived)}, lived on`;
      machines = this.#start(survived, outcomes);
      expect(await this.#manager.bringUp(machines), 'served again').to.equal(true);
      await this.#judge(load);
    }
  }

  async close(): Promise<void> {
    await this.#machines?.end();
    await this.#files.stop();
    await this.#load?.close();
    rmSync(this.#root, { recursive: true, force: true });
  }

  async #work(machines: Machines, load: FilesystemLoad): Promise<void> {
    const committed = load.figures['commits'] ?? 0;
    const synced = this.#files.count;
    await load.start();
    this.#files.start();
    await waitFor('commits and synced files', PATIENCE_MS, async () => {
      expect(machines.isOn, machines.complaints).to.equal(true);
      expect(this.#files.failure).to.equal('');
      const commits = (load.figures['commits'] ?? 0) - committed;
      return commits >= COMMITS_MIN && this.#files.count - synced >= FILES_MIN ? true : null;
    });
  }

  /** One of the things that may have been left: judged, and forgotten as if it had not been. */
  async #look(outcome: string, load: FilesystemLoad): Promise<void> {
    this.where = `${this.#lost}, ${basename(outcome)}`;
    const { map } = this.#manager;
    const machines = this.#start(outcome, []);
    expect(await this.#manager.bringUp(machines), 'served again').to.equal(true);
    await this.#judge(load);
    await machines.end();
    this.#manager.map = map;
  }

  /** Power may go again while they recover: where their disks are then. */
  async #interrupt(outcome: string): Promise<string> {
    this.where = `${this.#lost}, ${basename(outcome)}, recovering`;
    const again = `${outcome}-again`;
    const machines = this.#start(outcome, [again]);
    await machines.losePower(this.#prng.below(RECOVERY_EVENTS_MAX));
    if (!(await this.#manager.bringUp(machines))) {
      await machines.dark();
      return again;
    }
    // Served before that much happened: as if everything they wrote had been kept.
    await machines.end();
    return outcome;
  }

  async #judge(load: FilesystemLoad): Promise<void> {
    await load.mount();
    await this.#files.verify();
    await load.verify();
  }

  #start(disks: string, outcomes: readonly string[]): Machines {
    this.#boots += 1;
    this.#machines = new Machines({
      bootId: `boot ${this.#boots}`,
      seed: `${this.#seed}, boot ${this.#boots}`,
      disks,
      outcomes,
      socketDirectory: join(this.#root, 'sockets'),
    });
    return this.#machines;
  }

  #makeOutcomes(life: number): readonly string[] {
    return Array.from({ length: OUTCOMES }, (_, turn) => join(this.#root, `life${life}-${turn}`));
  }
}

describe('volumes: power loss of all machines', function () {
  this.timeout(TEST_TIMEOUT_MS);
  const obstacle = findMountObstacle();

  for (const seed of SEEDS) {
    it(`SQLite and synced files on ext4: all there, fsck clean, ${LIVES} times (seed ${seed})`, async function () {
      if (obstacle !== null) {
        console.log(`      not run here: ${obstacle}`);
        this.skip();
      }
      const blackouts = new Blackouts(seed);
      try {
        await blackouts.run();
      } catch (error) {
        throw new Error(`Seed ${seed}, ${blackouts.where}: ${describeError(error)}`, {
          cause: error,
        });
      } finally {
        await blackouts.close();
      }
    });
  }
});

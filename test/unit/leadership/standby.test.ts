/** A process that stands by: who leads, the copy of the facts, and the moment at which it leads itself. */
import { expect } from 'chai';
import { createState } from '../../../scheduler/core/bootstrap.ts';
import { Standby } from '../../../scheduler/leadership/standby.ts';
import { createManagerPort } from '../../../scheduler/manager-view.ts';
import { Scheduler } from '../../../scheduler/scheduler.ts';
import { describeError, StorageError } from '../../../shared/base/errors.ts';
import { Prng } from '../../../shared/base/prng.ts';
import type { MetadataStore } from '../../../shared/ports.ts';
import { SimulatedStore } from '../../simulation/ports/simulated-store.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';
import { OPTIONS } from '../offers/scenario.ts';

const SELF = 'http://self:1';
const OTHER = 'http://other:1';

describe('standby', () => {
  let clock: VirtualClock;
  let shared: SimulatedStore;
  let store: MetadataStore;
  let standby: Standby;
  /** Calls of the store that the standby made. */
  let calls: string[];
  let isAway: boolean;

  beforeEach(() => {
    clock = new VirtualClock();
    shared = new SimulatedStore(clock, new Prng('store'));
    store = shared.open();
    calls = [];
    isAway = false;
    const count = <T>(what: string, call: () => Promise<T>): Promise<T> => {
      calls.push(what);
      return isAway ? new Promise<never>(() => undefined) : call();
    };
    standby = new Standby({
      clock,
      log: () => undefined,
      store: {
        leader: () => count('leader', () => store.leader()),
        load: () => count('load', () => store.load()),
      },
      readAddress: () => SELF,
      readOptions: () => OPTIONS,
    });
  });

  /** The outcome after `ms` of virtual time: what it resolved with, or the error's text. */
  async function outcomeAfter<T>(ms: number, promise: Promise<T>): Promise<T | string> {
    let outcome: T | string = 'pending';
    promise.then(
      (value) => {
        outcome = value;
      },
      (error: unknown) => {
        outcome = describeError(error);
      },
    );
    await clock.runFor(ms);
    return outcome;
  }

  /** Another process leads and has begun a cluster. */
  async function begin(): Promise<Scheduler> {
    const own = shared.open();
    const campaigning = own.campaign({ address: OTHER });
    await clock.runFor(10);
    const { term } = await campaigning;
    const setup = { options: OPTIONS, entries: [], term, newClusterId: 'id' };
    const scheduler = new Scheduler(createState(setup, { ms: 0, wallMs: 0 }), 0, {
      clock,
      log: () => undefined,
      store: own,
      mesos: { call: () => undefined },
      control: { send: () => undefined, closeSession: () => undefined },
      onAbdicated: () => undefined,
    });
    scheduler.post({ kind: 'tick' });
    await clock.runFor(100);
    return scheduler;
  }

  it('leader: asked once in a while however many want to know; a store that is away is told', async () => {
    expect(await outcomeAfter(10, standby.findLeader())).to.equal(null);
    await begin();
    await clock.runFor(1_000);
    calls = [];
    const all = [1, 2, 3].map(() => standby.findLeader());
    await clock.runFor(10);
    expect(await Promise.all(all)).to.deep.equal(
      [1, 2, 3].map(() => ({ term: 1, address: OTHER })),
    );
    expect(calls).to.deep.equal(['leader']);
    expect(standby.leadership()).to.include({ isLeading: false, isStandby: true });
    expect(standby.leadership().reason).to.include(OTHER);
    isAway = true;
    await clock.runFor(1_000);
    expect(await outcomeAfter(3_000, standby.findLeader())).to.match(/did not say who leads/);
  });

  it('copy: none of an empty store, then the facts, read again only when asked and old', async () => {
    expect(await outcomeAfter(100, standby.followStore())).to.match(/holds none yet/);
    expect(() => standby.volumes()).to.throw(StorageError);
    await begin();
    expect(await outcomeAfter(100, standby.followStore())).to.be.within(0, 100);
    expect(standby.cluster().name).to.equal('test');
    expect(standby.cluster().isMesosConnected).to.equal(false);
    calls = [];
    await clock.runFor(4_000);
    expect(await outcomeAfter(10, standby.followStore())).to.be.within(4_000, 4_200);
    expect(calls).to.deep.equal([]);
    await clock.runFor(2_000);
    expect(await outcomeAfter(100, standby.followStore())).to.be.below(100);
    expect(calls).to.deep.equal(['load']);
  });

  it('store away: the last copy serves on, with its age', async () => {
    await begin();
    await outcomeAfter(100, standby.followStore());
    isAway = true;
    await clock.runFor(60_000);
    const age = await outcomeAfter(3_000, standby.followStore());
    expect(age).to.be.within(62_000, 63_000);
    expect(standby.pools()).to.have.length(1);
  });

  it('turn: from then on everything is the leading manager’s', async () => {
    const scheduler = await begin();
    const refused = await standby.execute({ kind: 'release-brake' });
    expect(refused.kind).to.equal('failed');
    standby.lead(createManagerPort(scheduler));
    expect(standby.leadership()).to.include({ isLeading: true });
    expect(standby.cluster().term).to.equal(1);
    let count = 0;
    standby.subscribe(() => {
      count += 1;
    });
    scheduler.post({ kind: 'tick' });
    await clock.runFor(100);
    expect(count).to.be.greaterThan(0);
    scheduler.close();
    expect(standby.leadership()).to.include({ isLeading: false });
    expect(standby.leadership().isStandby).not.to.equal(true);
  });
});

/** What a manager may send depends on a fresh proof that it leads. */
import { expect } from 'chai';
import { createState } from '../../../scheduler/core/bootstrap.ts';
import type { ManagerOptions } from '../../../scheduler/core/contract.ts';
import { LeadershipGuard } from '../../../scheduler/leadership/guard.ts';
import { Scheduler } from '../../../scheduler/scheduler.ts';
import { describeError, StorageError } from '../../../shared/base/errors.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { EMPTY_REPORT } from '../../../shared/model/node-report.ts';
import type { LeaderRecord } from '../../../shared/ports.ts';
import { SimulatedStore } from '../../simulation/ports/simulated-store.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';

const TERM = 7;

class ScriptedStore {
  asked = 0;
  answer: () => Promise<LeaderRecord | null> = () => leads(TERM);

  leader(): Promise<LeaderRecord | null> {
    this.asked += 1;
    return this.answer();
  }
}

function leads(term: number): Promise<LeaderRecord> {
  return Promise.resolve({ term, address: 'http://a:1' });
}

describe('leadership guard', () => {
  const clock = new VirtualClock();
  let store: ScriptedStore;
  let guard: LeadershipGuard;

  beforeEach(() => {
    store = new ScriptedStore();
    guard = new LeadershipGuard({ clock, store, term: TERM });
  });

  /** Settles within `ms` of virtual time: 'led', or the error's text. */
  async function confirm(ms: number): Promise<string> {
    let outcome = 'pending';
    const confirming = guard.confirm().then(
      () => {
        outcome = 'led';
      },
      (error: unknown) => {
        outcome = describeError(error);
      },
    );
    await clock.runFor(ms);
    if (outcome !== 'pending') await confirming;
    return outcome;
  }

  it('proof: a commit or a look at the store, for two seconds from when it was asked for', async () => {
    expect(guard.isFresh).to.equal(false);
    guard.note(clock.now());
    expect(await confirm(1)).to.equal('led');
    expect(store.asked).to.equal(0);
    await clock.runFor(2_000);
    expect(guard.isFresh).to.equal(false);
    expect(await confirm(1)).to.equal('led');
    expect(store.asked).to.equal(1);
    expect(guard.isFresh).to.equal(true);
  });

  it('another term leads, or nobody: refused with who', async () => {
    store.answer = () => leads(TERM + 1);
    expect(await confirm(1)).to.equal('Term 7 is over, term 8 leads now');
    store.answer = () => Promise.resolve(null);
    expect(await confirm(1)).to.equal('Term 7 is over, nobody leads now');
    expect(guard.isFresh).to.equal(false);
  });

  it('store away: waits for it, and gives up after a minute', async () => {
    let isAway = true;
    store.answer = () =>
      isAway ? Promise.reject(new StorageError('unavailable', 'no route')) : leads(TERM);
    clock.after(3_000, () => {
      isAway = false;
    });
    expect(await confirm(4_000)).to.equal('led');
    isAway = true;
    await clock.runFor(3_000);
    expect(await confirm(59_000)).to.equal('pending');
    await clock.runFor(3_000);
    expect(await confirm(62_000)).to.match(/did not confirm term 7 within 60 s: .*no route/);
  });

  it('answers that come too late prove nothing', async () => {
    store.answer = () =>
      new Promise((resolve) => clock.after(2_500, () => resolve({ term: TERM, address: '' })));
    expect(await confirm(10_000)).to.equal('pending');
    store.answer = () => leads(TERM);
    await clock.runFor(3_000);
    expect(guard.isFresh).to.equal(true);
  });
});

const OPTIONS: ManagerOptions = {
  clusterName: 'c',
  role: 'cistern',
  principal: 'cistern',
  user: 'root',
  webuiUrl: null,
  failoverTimeoutSeconds: 604_800,
  leaseMs: 4_000,
  silentMs: 2_500,
  leaseMarginMs: 250,
  memberFailureMs: 2_000,
  rebuildAfterMs: 60_000,
  resyncBytesPerSecond: 1,
  concurrentJoinsPerDisk: 1,
  defaultPgCount: 1,
  claimPerNode: null,
  claimNodes: null,
  expandAtRatio: 0.8,
  fullAtRatio: 0.95,
  expandCooldownMs: 1_000,
  overcommitRatio: 1,
  controlAddress: 'm:1',
  executor: {
    version: '1',
    command: 'x',
    uris: [],
    environment: {},
    cpus: 1,
    memoryMb: 1,
    taskCpus: 1,
    taskMemoryMb: 1,
  },
};

describe('deposed scheduler', () => {
  it('deposed scheduler: what needs no commit does not leave either, and it abdicates', async () => {
    const clock = new VirtualClock();
    const shared = new SimulatedStore(clock, new Prng('store'));
    const store = shared.open();
    const campaigning = store.campaign({ address: 'http://a:1' });
    await clock.runFor(10);
    const { term } = await campaigning;
    const setup = { options: OPTIONS, entries: [], term, newClusterId: 'id' };
    const sent: string[] = [];
    const ends: string[] = [];
    const scheduler = new Scheduler(createState(setup, { ms: 0, wallMs: 0 }), 0, {
      clock,
      log: () => undefined,
      store,
      mesos: { call: (call) => sent.push(`mesos ${call.type}`) },
      control: {
        send: (session, message) => sent.push(`${session} ${message.kind}`),
        closeSession: (session) => sent.push(`${session} closed`),
      },
      onAbdicated: (reason) => ends.push(reason),
    });
    // A session that it does not know is closed: an effect without any change of facts.
    const post = async (session: string): Promise<void> => {
      scheduler.post({ kind: 'node-report', session, sequence: 1, report: EMPTY_REPORT });
      await clock.runFor(100);
    };
    await post('s1');
    await clock.runFor(5_000);
    await post('s2');
    expect(sent).to.deep.equal(['s1 closed', 's2 closed']);

    const usurping = shared.open().campaign({ address: 'http://b:1' });
    await clock.runFor(5_000);
    expect((await usurping).term).to.be.greaterThan(term);
    await post('s3');
    expect(sent).to.deep.equal(['s1 closed', 's2 closed']);
    expect(ends).to.have.length(1);
    expect(ends[0]).to.match(/^Term 1 is over, term 2 leads now/);
    expect(scheduler.isLeading).to.equal(false);
    const refused = await scheduler.confirmLeadership().then(
      () => 'led',
      (error: unknown) => describeError(error),
    );
    expect(refused).not.to.equal('led');
  });
});

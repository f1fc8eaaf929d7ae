/** Stopped processes and clocks of their own pace: what waits for them happens late, in order, and not twice. */
import { expect } from 'chai';
import { Prng } from '../../shared/base/prng.ts';
import { DataFrame } from '../../shared/wire/data-protocol.ts';
import { MachineClock } from './ports/machine-clock.ts';
import { ProcessClock } from './ports/process-clock.ts';
import { SimulatedNetwork } from './ports/simulated-network.ts';
import { SimulatedStore } from './ports/simulated-store.ts';
import { VirtualClock } from './ports/virtual-clock.ts';

describe('stopped process', () => {
  it('stopped process: its timers, late and in order; cancelled ones never', async () => {
    const clock = new VirtualClock();
    const process = new ProcessClock(clock);
    const done: string[] = [];
    process.after(10, () => done.push('a'));
    const cancelled = process.after(15, () => done.push('cancelled'));
    process.after(20, () => done.push('b'));
    process.stop();
    await clock.runFor(100);
    expect(done).to.deep.equal([]);
    cancelled.cancel();
    process.whenRunning(() => done.push('c'));
    process.goOn();
    await clock.runFor(1);
    expect(done).to.deep.equal(['a', 'b', 'c']);
  });

  it('stopped process: killed meanwhile, nothing happens any more', async () => {
    const clock = new VirtualClock();
    const process = new ProcessClock(clock);
    let count = 0;
    process.after(1, () => {
      count += 1;
    });
    process.stop();
    await clock.runFor(10);
    process.kill();
    process.goOn();
    await clock.runFor(10);
    expect(count).to.equal(0);
  });

  it('stopped process: frames wait in its sockets', async () => {
    const clock = new VirtualClock();
    const network = new SimulatedNetwork(clock, new Prng('network'));
    const received: number[] = [];
    await network.host('b').listen('b:1', () => ({
      onFrame: (frame) => received.push(frame.requestId),
      onClose: () => undefined,
    }));
    const handlers = { onFrame: () => undefined, onClose: () => undefined };
    const connection = network.host('a').connect('b:1', handlers);
    await clock.runFor(10);
    network.host('b').stop();
    for (const requestId of [1, 2, 3]) {
      connection.send(Object.assign(new DataFrame(), { requestId }));
    }
    await clock.runFor(100);
    expect(received).to.deep.equal([]);
    network.host('b').goOn();
    expect(received).to.deep.equal([1, 2, 3]);
  });

  it('stopped process: a commit is durable, its leader hears of it when another leads', async () => {
    const clock = new VirtualClock();
    const store = new SimulatedStore(clock, new Prng('store'));
    const process = new ProcessClock(clock);
    const first = store.open((action) => process.whenRunning(action));
    const heard: string[] = [];
    const campaigning = first.campaign({ address: 'http://a:1' });
    await clock.runFor(10);
    await campaigning;
    const work = async (): Promise<void> => {
      await first.commit([{ key: 'a', value: '1' }], 0);
      heard.push('first');
      await first.commit([{ key: 'a', value: '2' }], 1).catch(() => heard.push('refused'));
    };
    const working = work();
    process.stop();
    await clock.runFor(10);
    expect(heard).to.deep.equal([]);
    const second = store.open();
    const loading = second.campaign({ address: 'http://b:1' }).then(() => second.load());
    await clock.runFor(10);
    expect((await loading).entries).to.deep.equal([{ key: 'a', value: '1' }]);
    process.goOn();
    await clock.runFor(10);
    await working;
    expect(heard).to.deep.equal(['first', 'refused']);
  });
});

describe('machine clock', () => {
  it('machine clock: another pace, timers keep to its own time and it never goes back', async () => {
    const clock = new VirtualClock();
    const machine = new MachineClock(clock, 1.02);
    const fired: number[] = [];
    machine.after(1_000, () => fired.push(machine.now()));
    await clock.runFor(500);
    const before = machine.now();
    machine.setRate(0.98);
    expect(machine.now()).to.be.closeTo(before, 1e-9);
    await clock.runFor(490);
    expect(fired).to.deep.equal([]);
    await clock.runFor(20);
    expect(fired).to.have.lengthOf(1);
    expect(fired[0]).to.be.at.least(1_000);
    expect(fired[0]).to.be.below(1_000.1);
  });
});

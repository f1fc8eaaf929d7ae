/** When the capacity hook is asked, for how much, and what becomes of its answers. */
import { expect } from 'chai';
import {
  HOOK_AFTER_MS,
  onCapacityAnswer,
  superviseHook,
} from '../../../scheduler/core/capacity/capacity-hook.ts';
import type { Effect, ManagerOptions } from '../../../scheduler/core/contract.ts';
import type { HookRecord } from '../../../scheduler/core/records.ts';
import {
  type CapacityOutcome,
  type CapacityRequest,
  decodeCapacityAnswer,
} from '../../../shared/model/capacity-hook.ts';
import { ModelAgent, path, usualResources } from '../offers/agent-model.ts';
import { Scenario } from '../offers/scenario.ts';

const HOOK = { cooldownMs: 900_000, disksPerDay: 3, deadlineMs: 60_000, isDryRun: false };
const FAILED: CapacityOutcome = { kind: 'failed', message: 'no quota' };

class HookScenario extends Scenario {
  /** The pool wishes for disks since so long. */
  wish(count: number, ms = HOOK_AFTER_MS): this {
    this.state.expansion.set('default', {
      diskCount: count,
      reason: 'pool "default" is 81 % used',
    });
    this.state.mesos.wishSinceMs.set('default', this.nowMs - ms);
    return this;
  }

  ask(): CapacityRequest | null {
    const [effect] = superviseHook(this.state, this.now) as readonly Effect[];
    this.tick(0);
    return effect?.kind === 'capacity-hook' ? effect.request : null;
  }

  mustAsk(): CapacityRequest {
    const request = this.ask();
    if (request === null) throw new Error('The hook is not asked');
    return request;
  }

  answer(key: string, outcome: CapacityOutcome): void {
    onCapacityAnswer(this.state, { key, outcome }, this.now);
    this.tick(0);
  }

  get hook(): HookRecord | null {
    return this.state.facts.pools.get('default').hook ?? null;
  }
}

function scenario(options: Partial<ManagerOptions> = {}): HookScenario {
  const agent = new ModelAgent('a', usualResources());
  return new HookScenario([agent], { capacityHook: HOOK, ...options })
    .ready()
    .bringUp() as HookScenario;
}

describe('capacity hook: decisions', () => {
  it('capacity hook: disks are wished for and none was offered for a minute, it is asked', () => {
    const run = scenario();
    expect(run.wish(2, HOOK_AFTER_MS - 1).ask(), 'offers come first').to.equal(null);
    const request = run.wish(2).mustAsk();
    expect(request).to.include({ pool: 'default', count: 2, attempt: 1, isDryRun: false });
    expect(request.reason).to.contain('81 %');
    expect(request.nodes.map(({ hostname }) => hostname)).to.deep.equal(['a']);
    expect(run.eventKinds()).to.include('capacity.asked');
    expect(run.ask(), 'one question at a time').to.equal(null);
  });

  it('capacity hook: none is configured, or nothing is wished for, nobody is asked', () => {
    expect(scenario({ capacityHook: null }).wish(2).ask()).to.equal(null);
    expect(scenario().ask()).to.equal(null);
  });

  it('capacity hook: it promises, it is left alone for the cool-down, then a new key', () => {
    const run = scenario();
    const first = run.wish(1).mustAsk();
    run.answer(first.key, { kind: 'promised', count: 1, message: 'vol-17 on host a' });
    run.nowMs += HOOK.cooldownMs - 1;
    expect(run.wish(1).ask()).to.equal(null);
    run.nowMs += 1;
    expect(run.wish(1).mustAsk().key).not.to.equal(first.key);
    expect(run.eventKinds()).to.include('capacity.promised');
  });

  it('capacity hook: it fails, it is asked again under the same key, later each time', () => {
    const run = scenario();
    const { key } = run.wish(1).mustAsk();
    const delays: number[] = [];
    for (let attempt = 2; attempt < 12; attempt += 1) {
      run.answer(key, FAILED);
      delays.push((run.hook?.nextAtMs ?? 0) - run.now.wallMs);
      run.nowMs += (delays.at(-1) ?? 0) - 1;
      expect(run.wish(1).ask()).to.equal(null);
      run.nowMs += 1;
      expect(run.wish(1).mustAsk()).to.include({ key, attempt });
    }
    expect(delays.slice(0, 3)).to.deep.equal([30_000, 60_000, 120_000]);
    expect(delays.at(-1)).to.equal(3_600_000);
    expect(run.hook?.message).to.equal('no quota');
  });

  it('capacity hook: the bound of the day, no more is asked for until it is over', () => {
    const run = scenario({ capacityHook: { ...HOOK, cooldownMs: 0 } });
    const first = run.wish(5).mustAsk();
    expect(first.count).to.equal(3);
    run.answer(first.key, { kind: 'promised', count: 3, message: '' });
    expect(run.wish(5).ask()).to.equal(null);
    expect(run.eventKinds()).to.include('capacity.hook-bound');
    run.nowMs += 86_400_000;
    expect(run.wish(1).mustAsk().count).to.equal(1);
  });

  it('capacity hook: less is promised than asked for, the rest may be asked for today', () => {
    const run = scenario({ capacityHook: { ...HOOK, cooldownMs: 0 } });
    run.answer(run.wish(3).mustAsk().key, { kind: 'promised', count: 1, message: '' });
    expect(run.hook?.disksToday).to.equal(1);
    expect(run.wish(5).mustAsk().count).to.equal(2);
  });

  it('capacity hook: the manager changes while it is asked, the next one asks under the same key', () => {
    const run = scenario();
    const { key } = run.wish(1).mustAsk();
    run.restart();
    run.ready();
    expect(run.wish(1).ask(), 'its answer may still come').to.equal(null);
    run.nowMs += HOOK.deadlineMs + 15_000;
    expect(run.wish(1).ask(), 'it counts as failed').to.equal(null);
    run.nowMs += 30_000;
    expect(run.wish(1).mustAsk()).to.include({ key, attempt: 2 });
    run.answer('another-key', { kind: 'promised', count: 1, message: '' });
    expect(run.hook?.state).to.equal('asked');
  });

  it('capacity hook: a disk can grow, that comes first', () => {
    const run = scenario({ claimPerNode: 3 });
    const disk = run.disks().find(({ kind }) => kind === 'path');
    if (disk === undefined) throw new Error('a PATH disk was claimed');
    run.state.work.diskUses.set(disk.id, 'serving');
    run.agents[0]?.free.push(path('/mnt/shared', 400));
    run.offer();
    expect(run.wish(1).ask()).to.equal(null);
  });

  it('capacity hook: the wish is over while it waits, it is not asked again', () => {
    const run = scenario();
    run.answer(run.wish(1).mustAsk().key, FAILED);
    run.state.expansion.clear();
    expect(run.ask()).to.equal(null);
    expect(run.hook?.state).to.equal('idle');
  });

  it('capacity hook: a dry run says so', () => {
    const request = scenario({ capacityHook: { ...HOOK, isDryRun: true } })
      .wish(1)
      .mustAsk();
    expect(request.isDryRun).to.equal(true);
  });
});

describe('capacity hook: answers', () => {
  it('capacity hook: what is no answer is refused with what it is', () => {
    const texts = [
      '',
      'ok',
      '[]',
      '{}',
      '{"count":-1}',
      '{"count":3}',
      '{"count":"1"}',
      '{"count":1,"message":7}',
    ];
    for (const text of texts) {
      expect(() => decodeCapacityAnswer(text, 2), text).to.throw(/capacity hook's answer/);
    }
    expect(decodeCapacityAnswer('{"count":0}', 2).kind).to.equal('refused');
    expect(decodeCapacityAnswer('{"count":2,"message":" two\\n disks "}', 2)).to.deep.equal({
      kind: 'promised',
      count: 2,
      message: 'two disks',
    });
  });
});

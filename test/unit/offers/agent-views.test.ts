import { expect } from 'chai';
import { agentView, agentViews } from '../../../scheduler/core/views/agent-views.ts';
import type { AgentView } from '../../../shared/model/agent-view.ts';
import { ModelAgent, mount, scalar, usualResources } from './agent-model.ts';
import { Scenario } from './scenario.ts';

function look(scenario: Scenario, name: string): AgentView {
  const found = agentView(scenario.state, name, scenario.now);
  if (found === null) throw new Error(`nobody knows ${name}`);
  return found;
}

function kinds(view: AgentView): string[] {
  return view.disks.flatMap(({ reasons }) => reasons.map(({ kind }) => kind));
}

describe('offers: agents explained', () => {
  it('a claim: what was taken, and why the other disks were not', () => {
    const scenario = new Scenario([new ModelAgent('a', usualResources())]).ready();
    scenario.offer();
    const view = look(scenario, 'a');
    expect(view.node).to.equal('n1');
    expect(view.answer).to.equal('accepted');
    expect(view.summary).to.equal('1 of 4 free disks were claimed');
    expect(view.disks.filter(({ disk }) => disk !== null).map(({ disk }) => disk)).to.deep.equal([
      'd1',
    ]);
    expect(kinds(view)).to.include('root-without-consent');
    expect(view.disks.every(({ disk, reasons }) => disk !== null || reasons.length > 0)).to.equal(
      true,
    );
  });

  it('an agent where no node is: known by its id and by its host, with the reason', () => {
    const tiny = [scalar('cpus', 4), scalar('mem', 2048), mount('/mnt/tiny', 10)];
    const scenario = new Scenario([new ModelAgent('b', tiny)]).ready();
    scenario.offer();
    for (const name of ['b', 'agent-b-S0']) {
      const view = look(scenario, name);
      expect(view.node).to.equal(null);
      expect(kinds(view)).to.deep.equal(['size']);
      expect(view.summary).to.match(/^None of 1 free disks was taken: /);
    }
    expect(agentView(scenario.state, 'c', scenario.now)).to.equal(null);
  });

  it('maintenance ahead: said of the whole agent', () => {
    const agent = new ModelAgent('a', usualResources());
    const scenario = new Scenario([agent]).ready();
    agent.unavailability = { start: { nanoseconds: scenario.now.wallMs * 1e6 } };
    scenario.offer();
    const view = look(scenario, 'a');
    expect(view.reason?.kind).to.equal('maintenance');
    expect(view.summary).to.match(/^Nothing was taken: its maintenance/);
  });

  it('offers one after the other: the last in full, five before it in a sentence each', () => {
    const scenario = new Scenario([new ModelAgent('a', usualResources())]).ready();
    for (let offer = 0; offer < 8; offer += 1) {
      scenario.offer();
      scenario.tick(1000);
    }
    const { earlier, lastOfferAt } = look(scenario, 'a');
    expect(earlier).to.have.length(5);
    expect(earlier.map(({ at }) => at)).to.deep.equal(
      earlier.map(({ at }) => at).toSorted((a, b) => (a < b ? 1 : -1)),
    );
    expect((earlier[0]?.at ?? '') < (lastOfferAt ?? '')).to.equal(true);
    expect(earlier.every(({ why }) => why !== '')).to.equal(true);
  });

  it('a node whose agent offers nothing: there, and why it is silent', () => {
    const scenario = new Scenario([new ModelAgent('a', usualResources())]).ready();
    scenario.bringUp();
    scenario.restart();
    expect(look(scenario, 'n1').summary).to.match(/no subscription at the master/);
    scenario.subscribe();
    expect(look(scenario, 'a').summary).to.match(/answered which tasks run/);
    for (const disk of scenario.disks()) scenario.masterUpdate(disk.taskId ?? '', 'TASK_RUNNING');
    scenario.tick();
    const views = agentViews(scenario.state, scenario.now);
    expect(views.map(({ node, lastOfferAt }) => [node, lastOfferAt])).to.deep.equal([['n1', null]]);
    expect(views[0]?.summary).to.match(/quota of role "cistern"|suppressed/);
  });
});

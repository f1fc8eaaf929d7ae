// Uninstall: everything is given back, also when the scheduler dies in the middle; then the framework is gone.
import { expect } from 'chai';
import { waitFor } from '../../../dev/demo/api-client.ts';
import type { UninstallView } from '../../../shared/model/api-views.ts';
import {
  messageOf,
  PATIENCE_MS,
  TEST_TIMEOUT_MS,
  TestCluster,
} from '../../integration/cluster/harness.ts';
import { MesosOperator } from './operator.ts';

describe('planned work: uninstall', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let operator: MesosOperator;

  before(async () => {
    cluster = await TestCluster.start({ agents: 2, disksPerAgent: 2, pgCount: 4, zones: 1 });
    operator = new MesosOperator(cluster);
    await cluster.attach('precious', { sizeMb: 16 });
  });

  after(async () => cluster?.close());

  it('a volume exists, or the name is another one: refused, nothing is touched', async () => {
    const plan = await cluster.cli('uninstall', '--plan');
    expect(plan.stdout).to.match(
      /Refused: 1 volumes exist, and would be destroyed by force only: precious/,
    );
    const wrong = await cluster.call('POST', '/uninstall', { name: 'prod', isForced: true });
    expect(messageOf(wrong)).to.match(/this is cluster "dev", not "prod"/);
    const refused = await cluster.cli('uninstall', '--yes', 'dev');
    expect(refused.code).not.to.equal(0);
    expect(refused.stderr).to.match(/has 1 volumes \("precious"\)/);
    expect(await operator.reservations()).to.be.above(0);
  });

  it('forced by name, the scheduler dies in the middle: no reservation, task or framework is left', async () => {
    const started = await cluster.cli('uninstall', '--yes', 'dev', '--force');
    expect(started.code, started.stderr).to.equal(0);
    await cluster.kill(cluster.schedulerPid);
    const phases = new Set<string>();
    await waitFor('every reservation to be given back', PATIENCE_MS, async () => {
      try {
        phases.add((await cluster.api.get<UninstallView>('/uninstall')).state);
      } catch {
        // It is being started again, or has ended for good.
      }
      return (await operator.reservations()) === 0 ? true : null;
    });
    expect([...phases], 'the next scheduler went on').to.include('releasing');
    await waitFor('the framework to be torn down', PATIENCE_MS, async () => {
      return (await operator.state()).frameworks.length === 0 ? true : null;
    });
    const { tasks, agents } = await operator.state();
    expect(tasks).to.deep.equal([]);
    const volumes = agents
      .flatMap(({ resources }) => resources)
      .filter(({ disk }) => disk?.persistence !== undefined);
    expect(volumes).to.deep.equal([]);
    await waitFor('the scheduler to say why it does not start', PATIENCE_MS, async () => {
      return cluster.logTail('scheduler').includes('was uninstalled') ? true : null;
    });
    expect((await operator.state()).frameworks).to.deep.equal([]);
  });
});

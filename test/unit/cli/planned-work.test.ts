/** The commands of planned work, as the manager hears them and people see them. */

import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { type ApiFixture, startFixture } from '../../fixture/api-fixture.ts';
import { SMALL } from '../../fixture/cluster-views.ts';
import { type CliRun, runNode } from '../../integration/cluster/harness.ts';

const MAIN = fileURLToPath(new URL('../../../cli/main.js', import.meta.url));

describe('cli: planned work', function () {
  this.timeout(60_000);
  let api: ApiFixture;

  before(async () => {
    api = await startFixture(SMALL);
  });

  after(() => api.close());

  function cistern(...args: readonly string[]): Promise<CliRun> {
    return runNode([MAIN, ...args], { CISTERN_API: api.url });
  }

  it('upgrade: the state in words and one row per node; what is commanded reaches the manager', async () => {
    const { stdout } = await cistern('upgrade', 'status');
    expect(stdout).to.match(/Scheduler brings +0\.1\.0/);
    expect(stdout).to.match(/n3 +agent-3\.example +0\.1\.0 +done/);
    for (const action of ['start', 'pause', 'resume', 'rollback']) {
      expect((await cistern('upgrade', action)).code).to.equal(0);
      expect(api.manager.commands.at(-1)).to.deep.equal({ kind: 'upgrade', action });
    }
  });

  it('uninstall: the plan changes nothing; without a terminal it needs the name', async () => {
    const before = api.manager.commands.length;
    const plan = await cistern('uninstall', '--plan');
    expect(plan.stdout).to.match(/Uninstalling cluster "fixture" would/);
    const asked = await cistern('uninstall');
    expect(asked.code).not.to.equal(0);
    expect(api.manager.commands).to.have.length(before);
    await cistern('uninstall', '--yes', 'fixture', '--force');
    const sent = { kind: 'uninstall', name: 'fixture', isForced: true };
    expect(api.manager.commands.at(-1)).to.deep.equal(sent);
  });

  it('disk replace, node decommission: with their jobs', async () => {
    const replaced = await cistern('disk', 'replace', 'd1', '--with', '/mnt/b');
    expect(replaced.stdout).to.match(/Disk d1 is being replaced by job j\d+/);
    const sent = { kind: 'replace-disk', disk: 1, place: '/mnt/b' };
    expect(api.manager.commands.at(-1)).to.deep.equal(sent);
    const taken = await cistern('node', 'decommission', 'n2', '--yes');
    expect(taken.stdout).to.match(/Node n2 is being taken out by job j\d+/);
    expect(api.manager.commands.at(-1)).to.deep.equal({ kind: 'decommission-node', node: 2 });
  });
});

import { expect } from 'chai';
import { executorOutput, type Shell, until, untilRunning, World } from './harness.ts';

function task(shell: Shell): { readonly life: string; readonly attempt: number } {
  const [disk] = shell.disks;
  const life = disk === undefined ? undefined : shell.state.mesos.tasks.get(disk.id)?.life;
  return { life: life ?? 'none', attempt: disk?.taskAttempt ?? 0 };
}

describe('mesos client: agents that restart and disappear', function () {
  this.timeout(90_000);
  let world: World;

  beforeEach(async () => {
    world = await World.start({ timeScale: 5 });
    await world.addAgent('a');
  });

  afterEach(async () => {
    await world.close();
  });

  it('agent restart: the executor is back within its two seconds, the task goes on', async () => {
    const shell = world.shell();
    await untilRunning(shell, 1);
    const pids = world.mesos.state().agents[0]?.executorPids;
    for (let round = 1; round <= 3; round += 1) {
      await world.mesos.stopAgent('a');
      await world.mesos.startAgent('a');
      await until('executor subscribed again', () => {
        return executorOutput(world).split('subscribed to the Mesos agent').length === round + 2;
      });
    }
    expect(world.mesos.state().agents[0]?.executorPids).to.deep.equal(pids);
    expect(task(shell)).to.deep.equal({ life: 'alive', attempt: 1 });
  });

  it('an update while the agent is away: delivered after its restart', async () => {
    const shell = world.shell();
    await untilRunning(shell, 1);
    const node = [...shell.state.facts.nodes.values()][0];
    const taskId = shell.disks[0]?.taskId ?? '';
    const [pid] = world.mesos.state().agents[0]?.executorPids ?? [];
    expect(node).to.not.equal(undefined);
    if (pid === undefined) throw new Error('no executor');
    await world.mesos.stopAgent('a');
    // The executor fails its tasks on this signal: there is nobody to tell yet.
    process.kill(pid, 'SIGUSR2');
    await until('executor failed its tasks', () => executorOutput(world).includes('failing all'));
    await world.mesos.startAgent('a');
    await until('the end arrived', () => {
      return shell.events.some(
        ({ update }) =>
          update?.status.task_id.value === taskId && update.status.state === 'TASK_FAILED',
      );
    });
    await until('a second attempt runs', () => {
      return task(shell).life === 'alive' && task(shell).attempt === 2;
    });
  });

  it('agent loses power: unreachable is not dead; after its return the disk comes back', async () => {
    const shell = world.shell({ manager: { claimNodes: 1 } });
    await untilRunning(shell, 1);
    const [disk] = shell.disks;
    await world.mesos.killAgent('a');
    await until('Mesos cannot see it', () => task(shell).life === 'away', 60_000);
    expect(shell.disks[0]?.phase).to.equal('launched');
    expect(task(shell).attempt).to.equal(1);
    await world.mesos.startAgent('a');
    await until('a second attempt runs', () => {
      return task(shell).life === 'alive' && task(shell).attempt === 2;
    });
    expect(shell.disks.map(({ uuid }) => uuid)).to.deep.equal([disk?.uuid]);
    expect(shell.state.facts.nodes.size).to.equal(1);
  });

  it('wiped agent: another agent without labels, so another node; nothing is relaunched', async () => {
    const shell = world.shell();
    await untilRunning(shell, 1);
    await world.mesos.killAgent('a');
    world.mesos.wipeAgent('a');
    await world.mesos.startAgent('a');
    await until('a new node has a disk', () => shell.state.facts.nodes.size === 2);
    await until('and it runs', () => {
      const disk = shell.disks[1];
      return disk !== undefined && shell.state.mesos.tasks.get(disk.id)?.life === 'alive';
    });
    expect(task(shell).attempt).to.equal(1);
  });
});

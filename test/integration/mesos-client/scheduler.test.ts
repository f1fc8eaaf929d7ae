import { expect } from 'chai';
import { untilRunning, World } from './harness.ts';

describe('mesos client: against the stand-in', function () {
  this.timeout(60_000);
  let world: World;

  afterEach(async () => {
    await world.close();
  });

  for (const contentType of ['application/x-protobuf', 'application/json'] as const) {
    it(`subscribe, accept, launch: a disk runs on every agent (${contentType})`, async () => {
      world = await World.start();
      await world.addAgent('a');
      await world.addAgent('b');
      const shell = world.shell({ contentType });
      await untilRunning(shell, 2);
      expect(shell.disks.map(({ phase, kind }) => [phase, kind])).to.deep.equal([
        ['launched', 'mount'],
        ['launched', 'mount'],
      ]);
      expect(world.mesos.state().tasks.map(({ state }) => state)).to.deep.equal([
        'TASK_RUNNING',
        'TASK_RUNNING',
      ]);
    });
  }
});

import { expect } from 'chai';
import { nodeId } from '../../../shared/base/ids.ts';
import { executorOutput, type Shell, until, untilRunning, World } from './harness.ts';

function lifeOf(shell: Shell, index = 0): string | undefined {
  const disk = shell.disks[index];
  return disk === undefined ? undefined : shell.state.mesos.tasks.get(disk.id)?.life;
}

function countEvents(shell: Shell, type: string): number {
  return shell.events.filter((event) => event.type === type).length;
}

describe('mesos client: against the stand-in', function () {
  this.timeout(180_000);
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

  for (const chunking of ['bytes', 'random', 'coalesce'] as const) {
    it(`streams cut by ${chunking}, every update twice: the same result`, async () => {
      world = await World.start({ timeScale: 5 });
      world.mesos.misbehave({ chunking, duplicateUpdates: true });
      await world.addAgent('a');
      const shell = world.shell({ manager: { claimPerNode: 3, isRootDiskAllowed: true } });
      await untilRunning(shell, 3);
      expect(shell.disconnects).to.deep.equal([]);
      expect(shell.disks.map(({ kind }) => kind)).to.deep.equal(['mount', 'path', 'root']);
    });
  }

  it('stream dropped: subscribed again as the same framework, tasks reconciled, none ended', async () => {
    world = await World.start();
    await world.addAgent('a');
    const shell = world.shell();
    await untilRunning(shell, 1);
    const taskId = shell.disks[0]?.taskId;
    world.mesos.dropStreams();
    await until('second subscription', () => countEvents(shell, 'SUBSCRIBED') === 2);
    await until('reconciled', () => shell.state.mesos.isReconciled);
    const answers = shell.events.filter(
      (event) => event.update?.status.reason === 'REASON_RECONCILIATION',
    );
    expect(answers.map((event) => event.update?.status.state)).to.deep.equal(['TASK_RUNNING']);
    expect(shell.disks[0]?.taskId).to.equal(taskId);
    expect(world.mesos.state().frameworks).to.have.length(1);
  });

  it('half-open connection: the missing heartbeats are noticed', async () => {
    // Heartbeats every 0.75 s, so five of them are missed after 3.75 s.
    world = await World.start({ timeScale: 20 });
    const shell = world.shell();
    await until('subscribed', () => shell.state.mesos.isSubscribed);
    world.mesos.misbehave({ stopHeartbeats: true });
    await until('stream given up', () => shell.disconnects.length > 0, 40_000);
    expect(shell.disconnects[0]).to.match(/silent for \d+ ms/);
    world.mesos.misbehave({ stopHeartbeats: false });
    // A busy machine may miss some more before it is subscribed for good.
    await until('subscribed again', () => shell.state.mesos.isSubscribed, 90_000);
  });

  it('calls refused: the subscription is dropped, and comes back when the master does', async () => {
    world = await World.start();
    const shell = world.shell();
    await until('subscribed', () => shell.state.mesos.isSubscribed);
    world.mesos.misbehave({ refuseCalls: true });
    shell.call({ type: 'SUPPRESS', suppress: { roles: ['cistern'] } });
    await until('dropped', () => shell.disconnects.length > 0);
    expect(shell.disconnects[0]).to.match(/SUPPRESS was refused with 503/);
    world.mesos.misbehave({ refuseCalls: false });
    await until('subscribed again', () => shell.state.mesos.isSubscribed);
  });

  it('masters that do not lead, and one that is dead: found through redirects', async () => {
    world = await World.start();
    await world.addAgent('a');
    const redirecting = await world.mesos.addRedirectingMaster();
    const shell = world.shell({ masters: ['127.0.0.1:1', redirecting] });
    await untilRunning(shell, 1);
    expect(shell.disconnects[0]).to.match(/127.0.0.1:1 did not answer/);
  });

  it('master restart: subscribed again, tasks go on', async () => {
    world = await World.start({ timeScale: 5 });
    await world.addAgent('a');
    const shell = world.shell();
    await untilRunning(shell, 1);
    const pids = world.mesos.state().agents[0]?.executorPids;
    await world.mesos.restartMaster();
    await until('second subscription', () => countEvents(shell, 'SUBSCRIBED') === 2);
    await until(
      'answer about the task',
      () => lifeOf(shell) === 'alive' && shell.state.mesos.isReconciled,
    );
    expect(world.mesos.state().agents[0]?.executorPids).to.deep.equal(pids);
    expect(shell.state.facts.cluster.frameworkId).to.not.equal(null);
    expect(shell.disks[0]?.taskAttempt).to.equal(1);
  });

  it('a second scheduler takes over: the first stops for good, executors stay', async () => {
    world = await World.start();
    await world.addAgent('a');
    const first = world.shell();
    await untilRunning(first, 1);
    const second = world.shell({ store: new Map(first.store), term: 2 });
    await until('first abdicated', () => first.abdications.length === 1);
    expect(first.abdications[0]).to.match(/Another scheduler subscribed/);
    await untilRunning(second, 1);
    expect(second.state.facts.cluster.frameworkId).to.equal(first.state.facts.cluster.frameworkId);
    expect(countEvents(first, 'SUBSCRIBED')).to.equal(1);
    await until('the executor was told of the new manager', () => {
      return executorOutput(world).includes('"term":2');
    });
  });

  it('crash between commit and ACCEPT: the next scheduler brings the same disk up', async () => {
    world = await World.start();
    await world.addAgent('a');
    const first = world.shell({ diesAtAccept: true });
    await until('ACCEPT made', () => first.calls.some(({ type }) => type === 'ACCEPT'));
    const second = world.shell({ store: new Map(first.store), term: 2 });
    await untilRunning(second, 1);
    expect(second.disks.map(({ uuid }) => uuid)).to.deep.equal(first.disks.map(({ uuid }) => uuid));
  });

  it('an agent reserved as a whole for a role above ours: disks run on refined resources', async () => {
    world = await World.start({ timeScale: 5 });
    await world.addAgent('a', { staticRole: 'storage' });
    const role = 'storage/cistern';
    const shell = world.shell({ manager: { role, claimPerNode: 2 } });
    await untilRunning(shell, 2);
    const reserved = (world.mesos.state().agents[0]?.resources ?? []).filter(
      ({ reservations }) => reservations?.at(-1)?.type === 'DYNAMIC',
    );
    expect(new Set(reserved.map(({ name }) => name))).to.deep.equal(
      new Set(['cpus', 'mem', 'disk']),
    );
    for (const { reservations } of reserved) {
      expect(reservations?.map((one) => one.role)).to.deep.equal(['storage', role]);
    }
  });

  it('wrong secret: stops with a clear message; the right one works', async () => {
    world = await World.start({ credentials: { cistern: 'right' } });
    const wrong = world.shell({
      authorization: { kind: 'basic', principal: 'cistern', secret: 'wrong' },
    });
    await until('abdicated', () => wrong.abdications.length > 0);
    expect(wrong.abdications[0]).to.match(/HTTP 401/);
    const right = world.shell({
      authorization: { kind: 'basic', principal: 'cistern', secret: 'right' },
    });
    await until('subscribed', () => right.state.mesos.isSubscribed);
  });

  it('the executor exits: Mesos says so, and the disk comes back on its own volume', async () => {
    world = await World.start({ timeScale: 5 });
    await world.addAgent('a');
    const shell = world.shell();
    await untilRunning(shell, 1);
    const before = shell.disks[0]?.taskId ?? '';
    send(shell, '{"do":"exit"}');
    await until('a second attempt runs', () => {
      return shell.disks[0]?.taskAttempt === 2 && lifeOf(shell) === 'alive';
    });
    const found = shell.events.find(
      ({ update }) => update?.status.state === 'TASK_RUNNING' && update.status.message === 'found',
    );
    expect(found?.update?.status.task_id.value).to.equal(shell.disks[0]?.taskId);
    const ended = shell.events.find(
      ({ update }) =>
        update?.status.task_id.value === before && update.status.state === 'TASK_FAILED',
    );
    expect(ended?.update?.status.reason).to.equal('REASON_EXECUTOR_TERMINATED');
  });

  it('an executor asks for the manager: answered', async () => {
    world = await World.start();
    await world.addAgent('a');
    const shell = world.shell();
    await untilRunning(shell, 1);
    send(shell, '{"do":"ask"}');
    const isTold = (): boolean => executorOutput(world).split('"kind":"control"').length > 1;
    await until('answer arrived', isTold);
  });

  it('a released disk: task killed, volume destroyed, executor shut down, nothing left', async () => {
    world = await World.start({ timeScale: 5 });
    await world.addAgent('a');
    const shell = world.shell();
    await untilRunning(shell, 1);
    shell.state.facts.pools.update('default', { claimPerNode: 0 });
    const disk = shell.disks[0];
    if (disk === undefined) throw new Error('no disk');
    shell.state.facts.disks.update(disk.id, { phase: 'releasing' });
    await until('disk forgotten', () => shell.disks.length === 0);
    await until('nothing reserved', () => {
      const resources = world.mesos.state().agents[0]?.resources ?? [];
      return resources.every(({ reservations }) => (reservations?.length ?? 0) === 0);
    });
    expect(world.mesos.state().agents[0]?.executorPids).to.deep.equal([]);
    expect(shell.state.facts.nodes.has(nodeId(1))).to.equal(true);
  });
});

function send(shell: Shell, text: string): void {
  const node = shell.state.facts.nodes.get(nodeId(1));
  shell.call({
    type: 'MESSAGE',
    message: {
      agent_id: { value: node.agentId },
      executor_id: { value: node.executorId },
      data: Buffer.from(text),
    },
  });
}

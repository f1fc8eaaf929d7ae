import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { JSON_TYPE, PROTOBUF_TYPE } from '../../../shared/mesos/codec.ts';
import {
  create,
  destroy,
  disk,
  executor,
  launch,
  reserve,
  scalar,
  task,
  unreserve,
  volume,
} from './operations.ts';
import { RawScheduler, waitFor } from './raw-scheduler.ts';
import { agentSpec, closeStandIns, startStandIn } from './stand-in-fixture.ts';

describe('stand-in: launching', function () {
  this.timeout(60_000);
  afterEach(closeStandIns);

  for (const contentType of [JSON_TYPE, PROTOBUF_TYPE] as const) {
    it(`reserve, create, launch in one accept, volumes in the sandbox (${contentType})`, async () => {
      const standIn = await startStandIn();
      const scheduler = new RawScheduler(standIn.masterUrl, contentType);
      expect(await scheduler.subscribe()).to.equal(200);
      const offer = await scheduler.nextOffer();
      const path = disk(offer, 'PATH', 100);
      const mount = disk(offer, 'MOUNT', 250);
      const volumes = [volume(path, 'pv-1', 'data'), volume(mount, 'mv-1', 'm1')];

      const answer = await scheduler.call({
        type: 'ACCEPT',
        accept: {
          offer_ids: [offer.id],
          operations: [
            reserve('op-reserve', path, mount),
            create('op-create', ...volumes),
            launch(task(offer, 'task-1', executor('node-1'), ...volumes)),
          ],
          filters: { refuse_seconds: 0 },
        },
      });
      expect(answer.status).to.equal(202);
      expect(await scheduler.nextOperation('op-reserve')).to.equal('OPERATION_FINISHED');
      expect(await scheduler.nextOperation('op-create')).to.equal('OPERATION_FINISHED');
      await scheduler.nextUpdate('task-1', 'TASK_STARTING');
      const running = await scheduler.nextUpdate('task-1', 'TASK_RUNNING');

      expect(running.source).to.equal('SOURCE_EXECUTOR');
      expect(running.uuid).to.have.lengthOf(16);
      expect(running.container_status?.executor_pid).to.be.greaterThan(1);
      const sandbox = JSON.parse(running.data?.toString() ?? '{}') as Record<string, string | null>;
      const root = path.disk?.source?.path?.root ?? '';
      expect(sandbox['data']).to.equal(join(root, 'volumes/roles/cistern/pv-1'));
      expect(sandbox['m1']).to.equal(mount.disk?.source?.mount?.root);
      expect(existsSync(join(root, 'volumes/roles/cistern/pv-1'))).to.equal(true);
      const rest = await scheduler.nextOffer();
      expect(rest.executor_ids).to.deep.equal([{ value: 'node-1' }]);
      expect(rest.resources?.find((one) => one.name === 'cpus')?.scalar?.value).to.equal(3.8);
      scheduler.close();
    });
  }

  it('kill, the volume is offered again with its reservation; destroy wipes it, unreserve frees it', async () => {
    const standIn = await startStandIn([
      agentSpec('agent1', { disks: [{ kind: 'mount', sizeMb: 250 }] }),
    ]);
    const scheduler = new RawScheduler(standIn.masterUrl);
    await scheduler.subscribe();
    const offer = await scheduler.nextOffer();
    const mount = disk(offer, 'MOUNT', 250);
    const made = volume(mount, 'mv-1', 'm1');
    const operations = [
      reserve(undefined, mount),
      create(undefined, made),
      launch(task(offer, 'task-1', executor('node-1'), made)),
    ];
    await scheduler.call({ type: 'ACCEPT', accept: { offer_ids: [offer.id], operations } });
    await scheduler.nextUpdate('task-1', 'TASK_RUNNING');
    const file = join(mount.disk?.source?.mount?.root ?? '', 'data');
    writeFileSync(file, 'precious');

    await scheduler.call({ type: 'KILL', kill: { task_id: { value: 'task-1' } } });
    await scheduler.nextUpdate('task-1', 'TASK_KILLING');
    await scheduler.nextUpdate('task-1', 'TASK_KILLED');
    const again = await scheduler.nextOffer();
    const offered = again.resources?.find((one) => one.disk?.persistence?.id === 'mv-1');
    expect(offered?.reservations?.[0]?.labels?.labels).to.have.lengthOf(2);
    expect(readFileSync(file, 'utf8')).to.equal('precious');

    const free = [destroy('op-destroy', made), unreserve('op-unreserve', mount)];
    await scheduler.call({ type: 'ACCEPT', accept: { offer_ids: [again.id], operations: free } });
    expect(await scheduler.nextOperation('op-destroy')).to.equal('OPERATION_FINISHED');
    expect(await scheduler.nextOperation('op-unreserve')).to.equal('OPERATION_FINISHED');
    expect(existsSync(file)).to.equal(false);
    const free2 = await scheduler.nextOffer();
    const disks = free2.resources?.filter((one) => one.name === 'disk') ?? [];
    expect(disks.map((one) => [one.scalar?.value, one.reservations])).to.deep.equal([
      [250, undefined],
    ]);
    scheduler.close();
  });

  it('messages both ways, executor exit: FAILURE first, then TASK_FAILED', async () => {
    const standIn = await startStandIn();
    const scheduler = new RawScheduler(standIn.masterUrl);
    await scheduler.subscribe();
    const offer = await scheduler.nextOffer();
    const operations = [launch(task(offer, 'task-1', executor('node-1')))];
    await scheduler.call({ type: 'ACCEPT', accept: { offer_ids: [offer.id], operations } });
    await scheduler.nextUpdate('task-1', 'TASK_RUNNING');
    const message = (text: string) =>
      scheduler.call({
        type: 'MESSAGE',
        message: {
          agent_id: offer.agent_id,
          executor_id: { value: 'node-1' },
          data: Buffer.from(text),
        },
      });

    await message('hello');
    const echo = await scheduler.next('a message', (one) => one.message !== undefined);
    expect(echo.message?.data.toString()).to.equal('echo hello');
    await message('{"do": "exit", "code": 7}');
    const failure = await scheduler.next('a failure', (one) => one.failure !== undefined);
    expect(failure.failure?.status).to.equal(7 << 8);
    const failed = await scheduler.nextUpdate('task-1', 'TASK_FAILED');
    expect(failed.reason).to.equal('REASON_EXECUTOR_TERMINATED');
    expect(failed.message).to.equal('Executor terminated');
    scheduler.close();
  });

  it('bad URI, the task fails with CONTAINER_LAUNCH_FAILED', async () => {
    const standIn = await startStandIn();
    const scheduler = new RawScheduler(standIn.masterUrl);
    await scheduler.subscribe();
    const offer = await scheduler.nextOffer();
    const bad = executor('node-1', { command: { value: 'x', uris: [{ value: '/no/such/file' }] } });
    const operations = [launch(task(offer, 'task-1', bad))];
    await scheduler.call({ type: 'ACCEPT', accept: { offer_ids: [offer.id], operations } });
    const failure = await scheduler.next('a failure', (one) => one.failure !== undefined);
    expect(failure.failure?.status).to.equal(256);
    const failed = await scheduler.nextUpdate('task-1', 'TASK_FAILED');
    expect(failed.reason).to.equal('REASON_CONTAINER_LAUNCH_FAILED');
    expect(failed.message).to.include('Failed to fetch all URIs');
    scheduler.close();
  });

  it('SHUTDOWN ignored by the executor, killed after its grace period', async () => {
    const standIn = await startStandIn();
    const scheduler = new RawScheduler(standIn.masterUrl);
    await scheduler.subscribe();
    const offer = await scheduler.nextOffer();
    const base = executor('node-1', { shutdown_grace_period: { nanoseconds: 300_000_000 } });
    const stubborn = {
      ...base,
      command: {
        ...base.command,
        environment: { variables: [{ name: 'IGNORE_SHUTDOWN', value: '1' }] },
      },
    };
    const operations = [launch(task(offer, 'task-1', stubborn))];
    await scheduler.call({ type: 'ACCEPT', accept: { offer_ids: [offer.id], operations } });
    await scheduler.nextUpdate('task-1', 'TASK_RUNNING');
    await scheduler.call({
      type: 'SHUTDOWN',
      shutdown: { agent_id: offer.agent_id, executor_id: { value: 'node-1' } },
    });
    const failure = await scheduler.next('a failure', (one) => one.failure !== undefined);
    expect(failure.failure?.status).to.equal(9);
    await scheduler.nextUpdate('task-1', 'TASK_FAILED');
    scheduler.close();
  });

  it('bare commands run by the command executor, finished, failed and killed', async () => {
    const standIn = await startStandIn();
    const scheduler = new RawScheduler(standIn.masterUrl);
    await scheduler.subscribe();
    const offer = await scheduler.nextOffer();
    const bare = (id: string, value: string) => ({
      name: id,
      task_id: { value: id },
      agent_id: offer.agent_id,
      resources: [scalar('cpus', 0.1), scalar('mem', 32)],
      command: { value, environment: { variables: [{ name: 'CODE', value: '3' }] } },
    });
    const operations = [
      launch(bare('good', 'exit 0'), bare('bad', 'exit $CODE'), bare('long', 'exec sleep 60')),
    ];
    await scheduler.call({ type: 'ACCEPT', accept: { offer_ids: [offer.id], operations } });
    const last = async (id: string, ...states: string[]) => {
      await waitFor(`${id} ${states}`, () =>
        scheduler.events
          .flatMap((one) => one.update?.status ?? [])
          .find((one) => one.task_id.value === id && states.includes(one.state)),
      );
    };
    await last('good', 'TASK_FINISHED');
    await last('bad', 'TASK_FAILED');
    await last('long', 'TASK_RUNNING');
    await scheduler.call({ type: 'KILL', kill: { task_id: { value: 'long' } } });
    await last('long', 'TASK_KILLED');
    expect(scheduler.events.filter((one) => one.failure !== undefined)).to.deep.equal([]);
    scheduler.close();
  });

  it('more than was offered, an operation error with an id, silence without', async () => {
    const standIn = await startStandIn();
    const scheduler = new RawScheduler(standIn.masterUrl);
    await scheduler.subscribe();
    const offer = await scheduler.nextOffer();
    const operations = [
      reserve(undefined, scalar('cpus', 100)),
      reserve('op', scalar('cpus', 100)),
    ];
    await scheduler.call({ type: 'ACCEPT', accept: { offer_ids: [offer.id], operations } });
    expect(await scheduler.nextOperation('op')).to.equal('OPERATION_ERROR');
    const errors = scheduler.events.filter((one) => one.update_operation_status !== undefined);
    expect(errors).to.have.lengthOf(1);
    const message = errors[0]?.update_operation_status?.status.message;
    expect(message).to.match(/does not contain cpus\(allocated: cistern\):100$/);
    scheduler.close();
  });
});

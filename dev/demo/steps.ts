/** The demo's chapters, in order. Each checks what it claims and throws when that does not hold. */
import { assert, present } from '../../shared/base/assert.ts';
import { StorageError } from '../../shared/base/errors.ts';
import { formatBytes, formatDuration } from '../../shared/base/units.ts';
import type {
  AttachmentView,
  ClusterView,
  DiskView,
  JobView,
  NodeView,
  PoolView,
} from '../../shared/model/api-views.ts';
import { type ApiClient, waitFor } from './api-client.ts';
import { type FioJob, type FioResult, runFio } from './fio.ts';

export interface DemoContext {
  readonly api: ApiClient;
  readonly progress: (text: string) => void;
  readonly say: (text: string) => void;
  /** Returns the new agent's name. */
  readonly addAgent: () => Promise<string>;
  /** SIGKILL to everything on it, like a power cut. */
  readonly killAgent: (name: string) => Promise<void>;
  /** What later chapters need from earlier ones. */
  readonly memory: Map<string, string | number>;
}

export interface StepOutcome {
  readonly summary: string;
  readonly figures: Readonly<Record<string, number>>;
}

export interface Step {
  readonly name: string;
  readonly run: (context: DemoContext) => Promise<StepOutcome>;
}

/** All data of the first volume, random writes of 4 KiB at a steady pace. */
const LIVE_MB = 256;
const LIVE_IOPS = 4_000;
/** No disk further from the mean fill than this, once data has moved. */
const EVEN_RATIO = 0.05;
/** Longest that any wait of the demo may take on a slow machine. */
const PATIENCE_MS = 180_000;

export const STEPS: readonly Step[] = [
  { name: 'a volume of 1 GiB with 2 replicas, attached over NBD', run: createVolume },
  { name: 'an agent is killed (SIGKILL) under verified writes', run: killUnderWrites },
  { name: 'redundancy comes back on the others', run: rebuild },
  { name: 'a new agent joins, and data moves until it is even', run: join },
  { name: 'the pool is filled to its threshold', run: fill },
  { name: 'the pool expands by itself', run: expand },
  { name: 'an agent is drained', run: drain },
  { name: 'every byte is read back and verified', run: verify },
];

async function createVolume(context: DemoContext): Promise<StepOutcome> {
  const { api, memory } = context;
  await api.post('/volumes', { name: 'live', sizeBytes: 1024 ** 3, replicas: 2 });
  const attachment = await attach(api, 'live', {});
  memory.set('gatewayNode', attachment.node);
  memory.set('live', attachment.uri);
  return { summary: attachment.uri, figures: {} };
}

/** Attaches and waits until clients can reach the volume. */
async function attach(
  api: ApiClient,
  volume: string,
  wish: { readonly node?: string },
): Promise<{ readonly node: string; readonly uri: string }> {
  await api.post(`/volumes/${volume}/attach`, wish);
  return waitFor(`volume ${volume} to be served`, PATIENCE_MS, async () => {
    const attachments = await api.get<readonly AttachmentView[]>('/attachments');
    const found = attachments.find((each) => each.volumeName === volume);
    if (found?.state !== 'serving' || found.unixUri === null) return null;
    return { node: found.node, uri: found.unixUri };
  });
}

function liveJob(context: DemoContext, isVerifyOnly: boolean): FioJob {
  return {
    uri: String(context.memory.get('live')),
    sizeMb: LIVE_MB,
    blockKb: 4,
    pattern: 'randwrite',
    depth: 16,
    rateIops: isVerifyOnly ? null : LIVE_IOPS,
    isVerifyOnly,
  };
}

async function killUnderWrites(context: DemoContext): Promise<StepOutcome> {
  const { api, memory } = context;
  const nodes = await api.get<readonly NodeView[]>('/nodes');
  const victim = present(
    nodes.find((node) => node.id !== memory.get('gatewayNode') && node.state === 'up'),
    'a node beside the gateway',
  );
  memory.set('victim', victim.hostname);
  const run = runFio(liveJob(context, false));
  await waitFor('writes to flow', PATIENCE_MS, async () => {
    const [attachment] = await api.get<readonly AttachmentView[]>('/attachments');
    return (attachment?.io.writeOpsPerSecond ?? 0) > 100 ? true : null;
  });
  context.progress(`killing ${victim.hostname}`);
  await context.killAgent(victim.hostname);
  const result: FioResult = await run.done;
  assert(result.errors === 0, 'no write failed');
  const verified = await runFio(liveJob(context, true)).done;
  memory.set('liveBytes', verified.readBytes);
  return {
    summary: `${victim.hostname} died; no I/O error, longest write ${Math.round(result.writeMsMax)} ms, ${formatBytes(verified.readBytes)} verified`,
    figures: { writeMsMax: result.writeMsMax, verifiedBytes: verified.readBytes },
  };
}

async function rebuild(context: DemoContext): Promise<StepOutcome> {
  const job = await waitForJob(context, 'rebuild');
  await waitForClean(context);
  // It may have been done while the last chapter was still verifying.
  const rebuildMs =
    Date.parse(present(job.endedAt, 'end of a finished job')) - Date.parse(job.startedAt);
  return {
    summary: `rebuilt ${job.movesDone} replicas, ${formatBytes(job.doneBytes)} copied in ${formatDuration(rebuildMs)}`,
    figures: { moves: job.movesDone, bytes: job.doneBytes, rebuildMs },
  };
}

async function join(context: DemoContext): Promise<StepOutcome> {
  const name = await context.addAgent();
  await waitFor(`${name} to join`, PATIENCE_MS, async () => {
    const nodes = await context.api.get<readonly NodeView[]>('/nodes');
    return nodes.find((node) => node.hostname === name && node.state === 'up') ?? null;
  });
  const job = await waitForJob(context, 'rebalance');
  await waitForClean(context);
  // What has left a disk is freed some seconds later.
  const deviation = await waitFor('the fill of all disks to be even', PATIENCE_MS, async () => {
    const [pool] = await context.api.get<readonly PoolView[]>('/pools');
    const ratio = present(pool, 'a pool').fillDeviationRatio;
    context.progress(`fill within ${(ratio * 100).toFixed(1)} % of the mean`);
    return ratio <= EVEN_RATIO ? ratio : null;
  });
  return {
    summary: `${name} joined; ${job.movesDone} replicas moved, fill within ${(deviation * 100).toFixed(1)} % of the mean`,
    figures: {
      moves: job.movesDone,
      bytes: job.doneBytes,
      fillDeviationRatio: deviation,
      ...job.figures,
    },
  };
}

/** Writes whole blocks in sequence until the pool's used share passes the threshold. */
async function fill(context: DemoContext): Promise<StepOutcome> {
  const { api, memory } = context;
  const [pool] = await api.get<readonly PoolView[]>('/pools');
  const start = present(pool, 'a pool');
  const before = await countServing(api);
  memory.set('disksBefore', before);
  // Two copies of everything; a little beyond the threshold, well below the hard limit.
  const wanted = start.capacity.rawBytes * (start.expandAtRatio + 0.03) - start.capacity.usedBytes;
  const sizeMb = Math.ceil(wanted / 2 / 1024 ** 2 / 4) * 4;
  await api.post('/volumes', { name: 'ballast', sizeBytes: 4 * 1024 ** 3, replicas: 2 });
  const attachment = await attach(api, 'ballast', { node: String(memory.get('gatewayNode')) });
  memory.set('ballast', attachment.uri);
  memory.set('ballastMb', sizeMb);
  const run = runFio(ballastJob(context, false));
  const watch = watchPool(context);
  const result = await run.done.finally(watch);
  const full = await waitFor('the pool to report its fill', PATIENCE_MS, async () => {
    const [now] = await api.get<readonly PoolView[]>('/pools');
    return now !== undefined &&
      (now.capacity.usedRatio >= start.expandAtRatio || (await countServing(api)) > before)
      ? now
      : null;
  });
  return {
    summary: `${formatBytes(result.writeBytes)} written in two copies; the threshold is ${(full.expandAtRatio * 100).toFixed(0)} % of ${formatBytes(start.capacity.rawBytes)}`,
    figures: { writtenBytes: result.writeBytes, usedRatio: full.capacity.usedRatio },
  };
}

function ballastJob(context: DemoContext, isVerifyOnly: boolean): FioJob {
  return {
    uri: String(context.memory.get('ballast')),
    sizeMb: Number(context.memory.get('ballastMb')),
    blockKb: 1024,
    pattern: 'write',
    depth: 4,
    rateIops: null,
    isVerifyOnly,
  };
}

async function expand(context: DemoContext): Promise<StepOutcome> {
  const { api, memory } = context;
  const before = Number(memory.get('disksBefore'));
  const pool = await waitFor('more disks in the pool', PATIENCE_MS, async () => {
    const [now] = await api.get<readonly PoolView[]>('/pools');
    const serving = await countServing(api);
    context.progress(`${serving} disks serving`);
    return now !== undefined && serving > before && now.capacity.usedRatio < now.expandAtRatio
      ? now
      : null;
  });
  await waitForClean(context);
  const after = await countServing(api);
  return {
    summary: `${before} serving disks became ${after}; ${(pool.capacity.usedRatio * 100).toFixed(0)} % used`,
    figures: { disksBefore: before, disksAfter: after, usedRatio: pool.capacity.usedRatio },
  };
}

async function countServing(api: ApiClient): Promise<number> {
  const disks = await api.get<readonly DiskView[]>('/disks');
  return disks.filter((disk) => disk.state === 'serving').length;
}

async function drain(context: DemoContext): Promise<StepOutcome> {
  const { api, memory } = context;
  const nodes = await api.get<readonly NodeView[]>('/nodes');
  const node = present(
    nodes.find(
      (candidate) => candidate.state === 'up' && candidate.id !== memory.get('gatewayNode'),
    ),
    'a node beside the gateway',
  );
  await api.post(`/nodes/${node.id}/drain`);
  const job = await waitForJob(context, 'drain');
  await waitFor(`${node.hostname} to be drained`, PATIENCE_MS, async () => {
    const now = await api.get<NodeView>(`/nodes/${node.id}`);
    return now.state === 'drained' ? now : null;
  });
  return {
    summary: `${node.hostname} holds nothing any more; ${job.movesDone} replicas moved, ${formatBytes(job.doneBytes)}`,
    figures: { moves: job.movesDone, bytes: job.doneBytes },
  };
}

async function verify(context: DemoContext): Promise<StepOutcome> {
  context.progress('reading the first volume');
  const live = await runFio(liveJob(context, true)).done;
  context.progress('reading the second volume');
  const ballast = await runFio(ballastJob(context, true)).done;
  await waitForClean(context);
  const verifiedBytes = live.readBytes + ballast.readBytes;
  return {
    summary: `${formatBytes(verifiedBytes)} are what was written`,
    figures: { verifiedBytes },
  };
}

/** The newest job of a kind, when it is done. Shows its progress until then. */
async function waitForJob(context: DemoContext, kind: JobView['kind']): Promise<JobView> {
  return waitFor(`the ${kind} to finish`, PATIENCE_MS, async () => {
    const jobs = await context.api.get<readonly JobView[]>('/jobs');
    const newest = newestOf(jobs.filter((job) => job.kind === kind));
    if (newest === undefined) {
      context.progress(`waiting for the ${kind} to begin`);
      return null;
    }
    if (newest.state === 'failed' || newest.state === 'cancelled') {
      throw new StorageError('conflict', `Job ${newest.id} (${kind}) is ${newest.state}`);
    }
    const eta = newest.etaSeconds === null ? '' : `, about ${Math.ceil(newest.etaSeconds)} s to go`;
    context.progress(
      `${kind} ${(newest.progressRatio * 100).toFixed(0)} % (${newest.movesDone} of ${newest.movesTotal} replicas${eta})`,
    );
    return newest.state === 'done' ? newest : null;
  });
}

function newestOf(jobs: readonly JobView[]): JobView | undefined {
  const numberOf = (job: JobView): number => Number(job.id.slice(1));
  return [...jobs].sort((a, b) => numberOf(b) - numberOf(a))[0];
}

async function waitForClean(context: DemoContext): Promise<void> {
  await waitFor('every placement group to be clean', PATIENCE_MS, async () => {
    const { pgs } = await context.api.get<ClusterView>('/cluster');
    context.progress(`${pgs.clean} of ${pgs.total} placement groups clean`);
    return pgs.clean === pgs.total ? true : null;
  });
}

/** Shows the fill while fio writes; the returned function ends it. */
function watchPool(context: DemoContext): () => void {
  const timer = setInterval(() => {
    context.api.get<readonly PoolView[]>('/pools').then(
      ([pool]) => {
        if (pool !== undefined) {
          context.progress(`${(pool.capacity.usedRatio * 100).toFixed(0)} % of the pool used`);
        }
      },
      () => undefined, // Only a picture: the step itself waits for the facts.
    );
  }, 500);
  return () => clearInterval(timer);
}

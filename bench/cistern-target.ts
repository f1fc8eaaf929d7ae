/** A volume with two replicas on a development cluster of three nodes: every process is real. */
import { join } from 'node:path';
import { type DevCluster, devDown, devUp } from '../dev/cluster/commands.ts';
import { type DevState, devPaths, readJson } from '../dev/cluster/layout.ts';
import { ApiClient, waitFor } from '../dev/demo/api-client.ts';
import { present } from '../shared/base/assert.ts';
import { MiB } from '../shared/base/units.ts';
import type { AttachmentView } from '../shared/model/api-views.ts';
import { argumentsOf, type BenchProcess, childrenOf } from './processes.ts';
import type { Target } from './target.ts';

const NODES = 3;
const REPLICAS = 2;
const VOLUME = 'bench';
/** Beyond the volume's two copies: the share of one disk is uneven, and a pool near its limit is slow. */
const ROOM_MB = 1024;
const ATTACH_DEADLINE_MS = 60_000;

export async function openCistern(
  directory: string,
  sizeBytes: number,
  report: (text: string) => void,
): Promise<Target> {
  const place = { directory: join(directory, 'cluster'), report };
  const close = (): Promise<void> => devDown({ ...place, isPurge: true });
  try {
    const cluster = await devUp({
      ...place,
      settings: {
        agents: NODES,
        zones: NODES,
        disksPerAgent: 1,
        diskSizeMb: Math.ceil((sizeBytes * REPLICAS) / MiB) + ROOM_MB,
      },
      isDetached: true,
    });
    const api = new ApiClient(present(cluster.api, 'a cluster that is up has an API'));
    report(`Creating a volume of ${sizeBytes / MiB} MiB with ${REPLICAS} replicas`);
    await api.post('/volumes', { name: VOLUME, sizeBytes, replicas: REPLICAS });
    await api.post(`/volumes/${VOLUME}/attach`);
    const { uri, hostname } = await waitForUri(api);
    return {
      uri,
      dataProcesses: dataProcessesOf(cluster, hostname),
      otherProcesses: otherProcessesOf(cluster),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** On a busy machine the answer to the attach may come before the gateway serves. */
function waitForUri(api: ApiClient): Promise<{ readonly uri: string; readonly hostname: string }> {
  return waitFor(`volume "${VOLUME}" to be served`, ATTACH_DEADLINE_MS, async () => {
    const [attachment] = await api.get<readonly AttachmentView[]>('/attachments');
    const uri = attachment?.unixUri ?? null;
    return attachment === undefined || uri === null ? null : { uri, hostname: attachment.hostname };
  });
}

/** The executor forks it with the argument `data`. */
function dataProcessesOf(cluster: DevCluster, gateway: string): readonly BenchProcess[] {
  return cluster.agents.flatMap(({ name, pid }) =>
    (pid === null ? [] : childrenOf(pid))
      .filter((child) => argumentsOf(child).at(-1) === 'data')
      .map((child) => ({
        role: name === gateway ? `data ${name} (gateway)` : `data ${name}`,
        pid: child,
      })),
  );
}

function otherProcessesOf(cluster: DevCluster): readonly BenchProcess[] {
  const executors = cluster.agents.flatMap(({ name, pid }) =>
    pid === null ? [] : [{ role: `executor ${name}`, pid }],
  );
  const state = readJson<DevState>(devPaths(cluster.directory).state);
  const scheduler = state?.schedulerPid ?? null;
  return scheduler === null ? executors : [...executors, { role: 'scheduler', pid: scheduler }];
}

/** Settings → the manager's options. */
import type { Config } from './config.ts';
import type { ManagerOptions } from './core/contract.ts';
import { earlierExecutors, executorArtefact } from './executor-artefact.ts';

/** A silent node is fenced after two missed reports and a half; see DESIGN 5. */
const SILENT_MS = 2_500;
/** Clocks may differ by a hundredth; a lease of 4 s then needs 40 ms. */
const LEASE_MARGIN_MS = 250;
/** A restarted data process is back within a second. */
const MEMBER_FAILURE_MS = 2_000;

/** `controlAddress` is where the control server listens; `version` that of this program. */
export function managerOptions(
  config: Config,
  controlAddress: string,
  version: string,
): ManagerOptions {
  const port = controlAddress.slice(controlAddress.lastIndexOf(':') + 1);
  const apiUrl = `http://${config.advertisedHost}:${config.apiPort}`;
  return {
    clusterName: config.clusterName,
    role: config.role,
    principal: config.principal,
    user: config.user,
    ignoredClusters: config.ignoredClusters,
    webuiUrl: `${apiUrl}/`,
    failoverTimeoutSeconds: config.failoverTimeoutSeconds,
    leaseMs: config.leaseMs,
    silentMs: SILENT_MS,
    leaseMarginMs: LEASE_MARGIN_MS,
    memberFailureMs: MEMBER_FAILURE_MS,
    brakeWindowMs: config.brakeWindowMs,
    diskReadmitAfterMs: config.diskReadmitAfterMs,
    rebuildAfterMs: config.rebuildAfterMs,
    plannedOutageMs: config.plannedOutageMs,
    suspectWaitMs: config.suspectWaitMs,
    resyncBytesPerSecond: config.resyncBytesPerSecond,
    concurrentJoinsPerDisk: config.concurrentJoinsPerDisk,
    defaultPgCount: config.pgCount,
    claimPerNode: config.claimPerNode,
    claimNodes: config.claimNodes,
    expandAtRatio: config.expandAtRatio,
    fullAtRatio: config.fullAtRatio,
    expandCooldownMs: config.expandCooldownMs,
    expandLeadMs: config.expandLeadMs,
    capacityHook: config.capacityHook,
    overcommitRatio: config.overcommitRatio,
    controlAddress: `${config.advertisedHost}:${port}`,
    executor: executorArtefact(config, apiUrl, version),
    earlierExecutors: earlierExecutors(config, apiUrl),
  };
}

/**
 * Where an executor lives: its directory, made as Mesos lays it out, and its complete environment.
 */

import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutorInfo, FrameworkInfo } from '../../shared/mesos/messages.ts';
import { durationMs, formatDuration } from './timing.ts';

/** `--executor_shutdown_grace_period`. */
export const GRACE_MS_DEFAULT = 5_000;

/** `--executor_reregistration_timeout`: the window to come back after a restart of the agent. */
export const REREGISTRATION_MS = 2_000;

const RECOVERY_TIMEOUT = '15mins';

export type AgentAddress = {
  readonly id: string;
  readonly ip: string;
  readonly port: number;
  readonly workDirectory: string;
};

export function sandboxPath(
  agent: AgentAddress,
  frameworkId: string,
  executorId: string,
  containerId: string,
): string {
  const { workDirectory, id } = agent;
  const below = ['frameworks', frameworkId, 'executors', executorId, 'runs'];
  return join(workDirectory, 'slaves', id, ...below, containerId);
}

/** Makes the directory, and the link `latest` beside it. */
export function createSandbox(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o750 });
  const latest = join(path, '..', 'latest');
  rmSync(latest, { force: true });
  symlinkSync(path, latest);
}

export function graceMs(executor: ExecutorInfo): number {
  return durationMs(executor.shutdown_grace_period) ?? GRACE_MS_DEFAULT;
}

/** Of the stand-in's own environment only PATH is passed on. */
export function executorEnvironment(
  agent: AgentAddress,
  framework: FrameworkInfo,
  executor: ExecutorInfo,
  sandbox: string,
): Record<string, string> {
  const endpoint = `${agent.ip}:${agent.port}`;
  const environment: Record<string, string> = {
    PATH: process.env['PATH'] ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    PWD: sandbox,
    LIBPROCESS_IP: agent.ip,
    LIBPROCESS_PORT: '0',
    MESOS_AGENT_ENDPOINT: endpoint,
    MESOS_CHECKPOINT: framework.checkpoint === true ? '1' : '0',
    MESOS_DIRECTORY: sandbox,
    MESOS_EXECUTOR_ID: executor.executor_id.value,
    MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD: formatDuration(graceMs(executor)),
    MESOS_FRAMEWORK_ID: framework.id?.value ?? '',
    MESOS_HTTP_COMMAND_EXECUTOR: '0',
    MESOS_SANDBOX: sandbox,
    MESOS_SLAVE_ID: agent.id,
    MESOS_SLAVE_PID: `slave(1)@${endpoint}`,
  };
  if (framework.checkpoint === true) {
    environment['MESOS_RECOVERY_TIMEOUT'] = RECOVERY_TIMEOUT;
    environment['MESOS_SUBSCRIPTION_BACKOFF_MAX'] = formatDuration(REREGISTRATION_MS);
  }
  for (const variable of executor.command?.environment?.variables ?? []) {
    environment[variable.name] = variable.value ?? '';
  }
  return environment;
}

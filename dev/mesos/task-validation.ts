/** Whether a task may be launched: Mesos' rules for TaskInfo and for executors with the same id. */

import type { CommandInfo, ExecutorInfo, Resource, TaskInfo } from '../../shared/mesos/messages.ts';
import { executorKey } from './executor-record.ts';
import type { AgentRecord, FrameworkRecord, MasterCore } from './master-core.ts';
import { findIdError } from './operations.ts';
import { contains, isVolume, normalize } from './resources.ts';
import { hasUsableContainerPath } from './volumes.ts';

/** Undefined when the task is in order; resources are checked by the ACCEPT engine. */
export function findTaskError(
  core: MasterCore,
  framework: FrameworkRecord,
  agent: AgentRecord,
  task: TaskInfo,
): string | undefined {
  const taskId = task.task_id.value;
  const known = core.findTask(framework.id, taskId);
  if (task.agent_id.value !== agent.id) {
    return `Task uses invalid agent ${task.agent_id.value} while agent ${agent.id} is expected`;
  }
  return (
    findIdError(taskId) ??
    (known !== undefined ? `Task has duplicate ID: ${taskId}` : undefined) ??
    ((task.executor === undefined) === (task.command === undefined)
      ? 'Task should have at least one (but not both) of CommandInfo or ExecutorInfo present'
      : undefined) ??
    ((task.resources ?? []).length === 0 ? 'Task uses no resources' : undefined) ??
    findResourcesError(task.resources ?? [], 'Task') ??
    findExecutorError(framework, agent, task) ??
    (core.options.lint ? findLint(task) : undefined)
  );
}

function findResourcesError(resources: readonly Resource[], whose: string): string | undefined {
  const roles = new Set(resources.map((resource) => resource.allocation_info?.role));
  if (roles.size > 1) return `${whose} uses resources allocated to more than one role`;
  for (const resource of resources) {
    if (resource.type !== 'SCALAR') continue;
    const value = resource.scalar?.value;
    if (value === undefined || !(value > 0)) {
      return `${whose} uses invalid resources: Invalid scalar resource: value must be positive`;
    }
  }
  const ids = resources.filter(isVolume).map((one) => one.disk?.persistence?.id);
  return new Set(ids).size < ids.length
    ? `${whose} uses duplicate persistence ID within the same role`
    : undefined;
}

function findExecutorError(
  framework: FrameworkRecord,
  agent: AgentRecord,
  task: TaskInfo,
): string | undefined {
  const executor = task.executor;
  if (executor === undefined) return undefined;
  const idError = findIdError(executor.executor_id.value);
  if (idError !== undefined) return idError;
  if (executor.framework_id !== undefined && executor.framework_id.value !== framework.id) {
    return `ExecutorInfo has an invalid FrameworkID (Actual: ${executor.framework_id.value} vs Expected: ${framework.id})`;
  }
  if (executor.type === 'DEFAULT') return 'The stand-in does not run the default executor';
  if (executor.command === undefined)
    return "'ExecutorInfo.command' must be set for 'CUSTOM' executor";
  const existing = agent.executors.get(executorKey(framework.id, executor.executor_id.value));
  if (existing !== undefined && !isSameExecutor(existing.info, executor, framework.id)) {
    return (
      'ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n' +
      `Existing ExecutorInfo:\n${JSON.stringify(existing.info)}\n` +
      `ExecutorInfo:\n${JSON.stringify(executor)}\n`
    );
  }
  return findResourcesError(executor.resources ?? [], 'Executor');
}

/** Labels and the grace period are not compared, and the framework id may be left out. */
export function isSameExecutor(a: ExecutorInfo, b: ExecutorInfo, frameworkId: string): boolean {
  const comparable = (info: ExecutorInfo) =>
    JSON.stringify([
      info.type ?? 'UNKNOWN',
      info.executor_id.value,
      info.framework_id?.value ?? frameworkId,
      info.name ?? null,
      info.source ?? null,
      info.data?.toString('base64') ?? null,
      info.container ?? null,
      info.discovery ?? null,
      comparableCommand(info.command),
    ]);
  const first = (a.resources ?? []).map(normalize);
  const second = (b.resources ?? []).map(normalize);
  return comparable(a) === comparable(b) && contains(first, second) && contains(second, first);
}

/** URIs and variables are sets, arguments are a list. */
function comparableCommand(command: CommandInfo | undefined): unknown {
  if (command === undefined) return null;
  const uris = (command.uris ?? []).map((uri) =>
    JSON.stringify([uri.value, uri.executable, uri.extract, uri.cache, uri.output_file]),
  );
  const variables = (command.environment?.variables ?? []).map((one) =>
    JSON.stringify([one.name, one.value]),
  );
  return [
    uris.sort(),
    variables.sort(),
    command.value ?? null,
    command.user ?? null,
    command.shell ?? true,
    command.arguments ?? [],
  ];
}

/** What Mesos takes and then passes over in silence. */
function findLint(task: TaskInfo): string | undefined {
  const volumes = [...(task.resources ?? []), ...(task.executor?.resources ?? [])].filter(isVolume);
  const bad = volumes.find((volume) => !hasUsableContainerPath(volume));
  return bad === undefined
    ? undefined
    : `Lint: container_path "${bad.disk?.volume?.container_path}" is no single path segment: the volume would not appear`;
}

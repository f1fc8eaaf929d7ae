/**
 * The manager's one entry: an event changes the facts in place and returns what shall happen once they
 * are committed (DESIGN 11). Everything it decides follows from the facts, from what it observes and from
 * `now`; so the simulator runs the same code, and a new manager goes on where another stopped.
 *
 *   event ──▶ its own handler ──▶ supervision (leases, members, attachments) ──▶ planners ──▶ effects
 *
 * Reports come a thousand a second in a large cluster, so after a report only what it may have changed
 * is looked at; everything else happens at the next tick.
 */
import { unreachable } from '../../shared/base/assert.ts';
import { announceManager } from './announce.ts';
import { settleAttachments } from './attachments.ts';
import { superviseBrake } from './brake.ts';
import { checkFull, superviseCapacity } from './capacity/capacity.ts';
import { onCapacityAnswer, superviseHook } from './capacity/capacity-hook.ts';
import { superviseGrowth } from './capacity/growth.ts';
import { onCommand } from './commands.ts';
import type { Effect, Event } from './contract.ts';
import { superviseDisksOut, takeDiskErrors } from './disks/disk-out.ts';
import { watchDisks } from './disks/disk-use.ts';
import { followProgress } from './jobs/job-progress.ts';
import { followMoves } from './jobs/jobs.ts';
import { onScrubReport, superviseScrub } from './jobs/scrubs.ts';
import { superviseLeases } from './members/fencing.ts';
import { onMemberReports, removeLostMembers } from './members/membership.ts';
import { onClosed, onHello, onReport, superviseSessions } from './members/sessions.ts';
import { settleSuspects } from './members/suspects.ts';
import { onMesosDisconnected, onMesosEvent, planMesos } from './mesos/framework.ts';
import { superviseAdoption } from './nodes/adoption.ts';
import { superviseDrains } from './nodes/nodes.ts';
import { plan } from './placement/planner.ts';
import { superviseDecommissions } from './planned/decommission.ts';
import { superviseReplacements } from './planned/disk-replace.ts';
import { superviseMaintenance } from './planned/maintenance.ts';
import { isUninstalling, superviseUninstall } from './planned/uninstall.ts';
import { superviseUpgrade } from './planned/upgrade.ts';
import { superviseApply } from './pools/pool-apply.ts';
import type { Now, State } from './state.ts';
import { followDeletions } from './volumes.ts';

/**
 * Changes `state` and returns effects, which the caller carries out in order after it has committed
 * `state.facts.takeChanges()`. Never throws for what the outside world does: an exception is a broken
 * invariant, after which the facts in memory are worthless and the manager must start anew.
 */
export function step(state: State, event: Event, now: Now): readonly Effect[] {
  switch (event.kind) {
    case 'tick':
      return supervise(state, now);
    case 'mesos':
      return mesos(state, event, now);
    case 'mesos-disconnected':
      return onMesosDisconnected(state, event.reason, now);
    case 'node-hello':
      return onHello(state, event, now);
    case 'node-report':
      return report(state, event, now);
    case 'node-closed':
      onClosed(state, event, now);
      return [];
    case 'capacity-answer':
      onCapacityAnswer(state, event, now);
      return [];
    case 'command':
      return command(state, event, now);
    default:
      return unreachable(event);
  }
}

function report(
  state: State,
  event: Extract<Event, { kind: 'node-report' }>,
  now: Now,
): readonly Effect[] {
  const effects = onReport(state, event, now);
  const id = state.work.nodeOfSession.get(event.session);
  if (id === undefined) return effects;
  checkFull(state, event.report, now);
  takeDiskErrors(state, id, event.report, now);
  onMemberReports(state, state.facts.nodes.get(id), event.report, now);
  settleSuspects(state, now);
  effects.push(...onScrubReport(state, { node: id, session: event.session }, event.report, now));
  return [...effects, ...settleAttachments(state, now)];
}

/**
 * After a master's failover thousands of offers and of answers about tasks that run come in one moment: they end
 * nobody's service, and what else is due happens at the next tick.
 */
function mesos(
  state: State,
  { event }: Extract<Event, { kind: 'mesos' }>,
  now: Now,
): readonly Effect[] {
  const effects = onMesosEvent(state, event, now);
  const taskState = event.update?.status.state;
  const isCalm = event.type === 'OFFERS' || (taskState !== undefined && CALM.has(taskState));
  return isCalm ? effects : [...effects, ...settle(state, now)];
}

const CALM: ReadonlySet<string> = new Set(['TASK_STAGING', 'TASK_STARTING', 'TASK_RUNNING']);

/** Commands see the disks as they are now, and what they change is planned for at once. */
function command(
  state: State,
  event: Extract<Event, { kind: 'command' }>,
  now: Now,
): readonly Effect[] {
  watchDisks(state, now);
  const effects = onCommand(state, event, now);
  return [...effects, ...settle(state, now)];
}

/** Who is certainly gone leaves, and who waited for that gets on. */
function settle(state: State, now: Now): Effect[] {
  superviseLeases(state, now);
  const effects = superviseSessions(state, now);
  removeLostMembers(state, now);
  settleSuspects(state, now);
  effects.push(...settleAttachments(state, now));
  return effects;
}

function supervise(state: State, now: Now): readonly Effect[] {
  const effects = settle(state, now);
  if (isUninstalling(state)) {
    effects.push(...superviseUninstall(state, now), ...planMesos(state, now));
    return effects;
  }
  superviseBrake(state, now);
  superviseMaintenance(state, now);
  watchDisks(state, now);
  plan(state, now);
  superviseDrains(state, now);
  superviseDecommissions(state, now);
  superviseReplacements(state, now);
  superviseDisksOut(state, now);
  superviseApply(state, now);
  superviseAdoption(state, now);
  followMoves(state, now);
  followDeletions(state, now);
  superviseScrub(state, now);
  followProgress(state, now);
  superviseCapacity(state, now);
  superviseGrowth(state, now);
  effects.push(...superviseHook(state, now), ...superviseUpgrade(state, now));
  effects.push(...planMesos(state, now), ...announceManager(state, now));
  return effects;
}

/** Whether a scheduler's call is complete, in the words of a real master. */

import type { SchedulerCall } from '../../shared/mesos/messages.ts';

const UUID_BYTES = 16;

/** The field that a call of a type must have; types that are not listed need none. */
const BODIES: Readonly<Partial<Record<NonNullable<SchedulerCall['type']>, keyof SchedulerCall>>> = {
  SUBSCRIBE: 'subscribe',
  ACCEPT: 'accept',
  DECLINE: 'decline',
  ACCEPT_INVERSE_OFFERS: 'accept_inverse_offers',
  DECLINE_INVERSE_OFFERS: 'decline_inverse_offers',
  KILL: 'kill',
  SHUTDOWN: 'shutdown',
  ACKNOWLEDGE: 'acknowledge',
  ACKNOWLEDGE_OPERATION_STATUS: 'acknowledge_operation_status',
  RECONCILE: 'reconcile',
  RECONCILE_OPERATIONS: 'reconcile_operations',
  MESSAGE: 'message',
  UPDATE_FRAMEWORK: 'update_framework',
};

/** `principal`: whom the request was authenticated as, if anybody was asked. */
export function findSchedulerCallError(
  call: SchedulerCall,
  principal: string | undefined,
): string | undefined {
  if (call.type === undefined) return "Expecting 'type' to be present";
  const body = BODIES[call.type];
  if (call.type === 'SUBSCRIBE') return findSubscribeError(call, principal);
  if (call.framework_id === undefined) return "Expecting 'framework_id' to be present";
  if (body !== undefined && call[body] === undefined) return `Expecting '${body}' to be present`;
  const uuid = (call.acknowledge ?? call.acknowledge_operation_status)?.uuid;
  if (uuid !== undefined && uuid.length !== UUID_BYTES) return 'Not a valid UUID';
  const operation = call.acknowledge_operation_status;
  if (operation !== undefined && operation.agent_id === undefined) {
    return "Expecting 'agent_id' to be present";
  }
  const updated = call.update_framework?.framework_info.id?.value;
  if (call.type === 'UPDATE_FRAMEWORK' && updated !== call.framework_id.value) {
    return "'framework_id' differs from 'update_framework.framework_info.id'";
  }
  return undefined;
}

function findSubscribeError(
  call: SchedulerCall,
  principal: string | undefined,
): string | undefined {
  if (call.subscribe === undefined) return "Expecting 'subscribe' to be present";
  const info = call.subscribe.framework_info;
  if (call.framework_id?.value !== info.id?.value) {
    return "'framework_id' differs from 'subscribe.framework_info.id'";
  }
  const isOther =
    principal !== undefined && info.principal !== undefined && info.principal !== principal;
  return isOther
    ? `Authenticated principal '${principal}' does not match principal '${info.principal}' set in 'FrameworkInfo'`
    : undefined;
}

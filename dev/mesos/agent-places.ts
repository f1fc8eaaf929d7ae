/**
 * Where an agent stands: host name, region, zone, and the machine that a maintenance schedule
 * names.
 */

import type { AgentInfo, MachineId } from '../../shared/mesos/messages.ts';

export function hostnameOfAgent(info: AgentInfo): string {
  return info.hostname;
}

export function regionOf(info: AgentInfo): string | undefined {
  return info.domain?.fault_domain?.region.name;
}

export function zoneOf(info: AgentInfo): string | undefined {
  return info.domain?.fault_domain?.zone.name;
}

/** Host names are compared without regard to case; a field that is not given matches. */
export function isMachine(machine: MachineId, hostname: string, ip: string): boolean {
  const hasSameName =
    machine.hostname === undefined || machine.hostname.toLowerCase() === hostname.toLowerCase();
  return hasSameName && (machine.ip === undefined || machine.ip === ip);
}

export function sameMachine(a: MachineId, b: MachineId): boolean {
  return a.hostname?.toLowerCase() === b.hostname?.toLowerCase() && a.ip === b.ip;
}

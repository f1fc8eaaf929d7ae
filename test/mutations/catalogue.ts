/** All mutations, along the way of a request: gateway, replica, disk; then who decides. */
import { DISK_MUTATIONS } from './disk-mutations.ts';
import { GATEWAY_MUTATIONS } from './gateway-mutations.ts';
import { MANAGER_MUTATIONS } from './manager-mutations.ts';
import type { Mutation } from './mutation.ts';
import { REPLICA_MUTATIONS } from './replica-mutations.ts';

export const MUTATIONS: readonly Mutation[] = [
  ...GATEWAY_MUTATIONS,
  ...REPLICA_MUTATIONS,
  ...DISK_MUTATIONS,
  ...MANAGER_MUTATIONS,
];

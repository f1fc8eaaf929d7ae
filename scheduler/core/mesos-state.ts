/** What the manager knows of Mesos right now; nothing here is durable. */

export interface MesosState {
  isSubscribed: boolean;
  /** Why not; empty while subscribed. */
  disconnectReason: string;
}

export function createMesosState(): MesosState {
  return { isSubscribed: false, disconnectReason: 'not subscribed yet' };
}

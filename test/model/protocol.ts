/**
 * The protocol of epochs, leases and attachments (DESIGN 4 and 5) on the smallest cluster that shows it: one
 * block on three replicas, one per node; a gateway on node 0 (generation 1) and its successor on node 1
 * (generation 2); one manager. `next` lists every step that may come now; explore.ts walks them all.
 *
 * Time is left out: a lease ends at any moment, and "certainly ended" means that it has. Messages are
 * writes and their acks; a lost one is one that never arrives, a late one arrives whenever. Reads are
 * single steps, which is the strictest case. Copying onto joining replicas is left out: what leaves stays away.
 */

import { acked, begin, FRESH, seen, type Way } from './register.ts';

export const NODES = 3;

/** Deliberate defects, each of which the exploration has to find. */
export interface Rules {
  /** The manager removes a member only when its node's lease has certainly ended. */
  readonly removesAfterLease: boolean;
  /** A gateway makes the replicas the same before it serves. */
  readonly reconciles: boolean;
  readonly checksGeneration: boolean;
  readonly checksEpoch: boolean;
  /** Replicas and gateways serve only while their node holds a lease. */
  readonly checksLease: boolean;
  /** A write is acked when all members have acked; otherwise: all but one. */
  readonly acksAfterAll: boolean;
  /** A read waits for the write under way. */
  readonly readsWait: boolean;
}

export const SOUND: Rules = {
  removesAfterLease: true,
  reconciles: true,
  checksGeneration: true,
  checksEpoch: true,
  checksLease: true,
  acksAfterAll: true,
  readsWait: true,
};

interface Write {
  readonly value: number;
  readonly epoch: number;
  /** Members that have not acked, as bits. */
  readonly pending: number;
}

interface Gateway {
  readonly isServing: boolean;
  readonly write: Write | null;
  /** Writes begun so far. */
  readonly count: number;
}

interface Message {
  readonly kind: 'write' | 'ack';
  readonly generation: number;
  readonly epoch: number;
  readonly replica: number;
  readonly value: number;
}

/** Sets of nodes are bits. */
export interface State {
  readonly manager: { readonly members: readonly number[]; readonly fenced: number };
  readonly generation: number;
  readonly leases: number;
  /** Newest epoch that each node's map has: an index into the manager's `members`. */
  readonly maps: readonly number[];
  readonly values: readonly number[];
  readonly adopted: readonly number[];
  readonly accepted: readonly number[];
  readonly gateways: readonly [Gateway, Gateway];
  readonly messages: readonly Message[];
  readonly register: readonly Way[];
}

export interface Step {
  readonly what: string;
  readonly state: State;
  /** Set when the step shows what must never be. */
  readonly violation?: string;
}

const ALL = (1 << NODES) - 1;
const IDLE: Gateway = { isServing: false, write: null, count: 0 };
/** Bounds of the exploration: one write of each gateway, one removal, one node shut out at a time. */
const WRITES_MAX = [1, 1];
const EPOCHS_MAX = 2;

export const START: State = {
  manager: { members: [ALL], fenced: 0 },
  generation: 1,
  leases: ALL,
  maps: [0, 0, 0],
  values: [0, 0, 0],
  adopted: [0, 0, 0],
  accepted: [1, 1, 1],
  gateways: [{ ...IDLE, isServing: true }, IDLE],
  messages: [],
  register: FRESH,
};

export function next(state: State, rules: Rules): Step[] {
  const steps: Step[] = [];
  for (let node = 0; node < NODES; node += 1) managerSteps(state, rules, node, steps);
  for (const generation of [1, 2]) gatewaySteps(state, rules, generation, steps);
  state.messages.forEach((message, index) => {
    steps.push(deliver(state, rules, message, index));
  });
  return steps.map((step) => ({ ...step, state: withoutDead(step.state, rules) }));
}

/** Messages that nothing can come of any more are as good as lost: that keeps the number of states small. */
function withoutDead(state: State, rules: Rules): State {
  const messages = state.messages.filter(({ kind, generation, epoch, replica, value }) => {
    if (kind === 'ack') {
      const write = state.gateways[generation - 1]?.write ?? null;
      return write !== null && write.value === value && write.epoch === epoch;
    }
    const newest = Math.max(at(state.adopted, replica), at(state.maps, replica));
    if (rules.checksEpoch && epoch < newest) return false;
    return !rules.checksGeneration || generation >= at(state.accepted, replica);
  });
  return messages.length === state.messages.length ? state : { ...state, messages };
}

// ── The manager, leases and maps ───────────────────────────────────────────────────────────────

function managerSteps(state: State, rules: Rules, node: number, steps: Step[]): void {
  const { manager, leases } = state;
  const bit = 1 << node;
  const epoch = manager.members.length - 1;
  const members = manager.members[epoch] ?? 0;
  const isFenced = (manager.fenced & bit) !== 0;
  const push = (what: string, change: Partial<State>): void => {
    steps.push({ what: `${what} n${node}`, state: { ...state, ...change } });
  };
  if ((leases & bit) !== 0 && isFenced) push('lease ends', { leases: leases & ~bit });
  if ((leases & bit) === 0 && !isFenced) push('lease comes', { leases: leases | bit });
  // The successor's node stays well: two lost nodes of three are another story.
  if (manager.fenced === 0 && node !== 1) push('fence', { manager: { ...manager, fenced: bit } });
  if (isFenced && at(state.maps, node) === epoch) {
    push('readmit', { manager: { ...manager, fenced: manager.fenced & ~bit } });
  }
  if (at(state.maps, node) < epoch) push('map comes to', { maps: set(state.maps, node, epoch) });
  const isOver = (leases & bit) === 0 || !rules.removesAfterLease;
  const others = members & ~bit & leases;
  if (isFenced && isOver && (members & bit) !== 0 && others !== 0 && epoch + 1 < EPOCHS_MAX) {
    const next = { ...manager, members: [...manager.members, members & ~bit] };
    push('remove', { manager: next });
  }
  // Node 1 takes over, on the word of an operator who may be wrong about node 0.
  if (node === 1 && state.generation === 1) {
    push('attach to', { generation: 2, maps: set(state.maps, 1, epoch) });
  }
  const mayOpen = state.generation === 2 && !state.gateways[1].isServing;
  if (mayOpen && at(state.accepted, node) < 2 && (leases & bit) !== 0) {
    push('accept generation 2 at', { accepted: set(state.accepted, node, 2) });
  }
}

// ── Gateways ───────────────────────────────────────────────────────────────────────────────────

function gatewaySteps(state: State, rules: Rules, generation: number, steps: Step[]): void {
  const index = generation - 1;
  const gateway = state.gateways[index] ?? IDLE;
  const epoch = at(state.maps, index);
  const members = state.manager.members[epoch] ?? 0;
  if (rules.checksLease && (state.leases & (1 << index)) === 0) return;
  if (!gateway.isServing) {
    if (generation === 2 && state.generation === 2) serve(state, rules, members, steps);
    return;
  }
  const { write } = gateway;
  if (write === null && gateway.count < (WRITES_MAX[index] ?? 0)) {
    const value = generation * 10 + gateway.count;
    const begun = { ...state, register: begin(state.register, value) };
    steps.push({
      what: `g${generation} writes ${value}`,
      state: issue(begun, generation, value, epoch),
    });
  }
  if (write !== null && write.epoch < epoch) {
    const what = `g${generation} issues ${write.value} again`;
    steps.push({ what, state: issue(state, generation, write.value, epoch) });
  }
  if (write !== null && rules.readsWait) return;
  for (let replica = 0; replica < NODES; replica += 1) {
    if ((members & (1 << replica)) === 0) continue;
    const adopted = admit(state, rules, { generation, epoch, replica });
    if (adopted !== null) steps.push(read(adopted, generation, replica));
  }
}

function serve(state: State, rules: Rules, members: number, steps: Step[]): void {
  const inSync = nodesOf(members);
  const accepted = inSync.filter((replica) => at(state.accepted, replica) === 2);
  if (accepted.length < inSync.length) return;
  if (accepted.some((replica) => (state.leases & (1 << replica)) === 0)) return;
  const source = at(state.values, accepted[0] ?? 0);
  const values = rules.reconciles
    ? state.values.map((value, replica) => (accepted.includes(replica) ? source : value))
    : state.values;
  const gateways = [state.gateways[0], { ...IDLE, isServing: true }] as const;
  steps.push({ what: 'g2 serves', state: { ...state, values, gateways } });
}

/** To all members of the epoch. */
function issue(state: State, generation: number, value: number, epoch: number): State {
  const pending = state.manager.members[epoch] ?? 0;
  const sent = nodesOf(pending).map(
    (replica): Message => ({ kind: 'write', generation, epoch, replica, value }),
  );
  const before = state.gateways[generation - 1] ?? IDLE;
  const count = before.write === null ? before.count + 1 : before.count;
  const changed = { ...before, count, write: { value, epoch, pending } };
  return withGateway({ ...state, messages: [...state.messages, ...sent] }, generation, changed);
}

function read(state: State, generation: number, replica: number): Step {
  const value = at(state.values, replica);
  const what = `g${generation} reads ${value} from n${replica}`;
  const register = seen(state.register, value);
  if (register.length > 0) return { what, state: { ...state, register } };
  const legal = [...new Set(state.register.map((way) => way.value))].join(' or ');
  return { what, state, violation: `${what}, where one disk would have had ${legal}` };
}

// ── Replicas ───────────────────────────────────────────────────────────────────────────────────

interface Request {
  readonly generation: number;
  readonly epoch: number;
  readonly replica: number;
}

/** The replica's checks; null when it refuses. A newer epoch is adopted. */
function admit(state: State, rules: Rules, request: Request): State | null {
  const { generation, epoch, replica } = request;
  if (rules.checksLease && (state.leases & (1 << replica)) === 0) return null;
  const newest = Math.max(at(state.adopted, replica), at(state.maps, replica));
  if (rules.checksEpoch && epoch < newest) return null;
  // Who is a member of a newer epoch, only the map says.
  if (epoch > at(state.maps, replica)) return null;
  if (rules.checksGeneration && generation !== at(state.accepted, replica)) return null;
  return { ...state, adopted: set(state.adopted, replica, Math.max(newest, epoch)) };
}

function deliver(state: State, rules: Rules, message: Message, index: number): Step {
  const messages = state.messages.filter((_, other) => other !== index);
  const { kind, generation, replica, value } = message;
  const what = `${kind} ${value} of g${generation} e${message.epoch} n${replica} arrives`;
  const rest = { ...state, messages };
  if (kind === 'ack') return takeAck(rest, rules, message, what);
  const admitted = admit(rest, rules, message);
  // A refused request is as good as a lost one: it is issued again under the next map.
  if (admitted === null) return { what, state: rest };
  const ack: Message = { ...message, kind: 'ack' };
  const values = set(admitted.values, replica, value);
  return { what, state: { ...admitted, values, messages: [...messages, ack] } };
}

function takeAck(state: State, rules: Rules, message: Message, what: string): Step {
  const { generation, epoch, replica, value } = message;
  const gateway = state.gateways[generation - 1] ?? IDLE;
  const { write } = gateway;
  if (write === null || write.value !== value || write.epoch !== epoch) return { what, state };
  const pending = write.pending & ~(1 << replica);
  const isDone = pending === 0 || (!rules.acksAfterAll && (pending & (pending - 1)) === 0);
  if (!isDone) {
    return {
      what,
      state: withGateway(state, generation, { ...gateway, write: { ...write, pending } }),
    };
  }
  const free = withGateway(state, generation, { ...gateway, write: null });
  const done = { ...free, register: acked(state.register, value) };
  return { what: `${what}, which is acked`, state: done };
}

// ── Small things ───────────────────────────────────────────────────────────────────────────────

function at(list: readonly number[], index: number): number {
  return list[index] ?? 0;
}

function set(list: readonly number[], index: number, value: number): readonly number[] {
  return list.map((old, other) => (other === index ? value : old));
}

function nodesOf(bits: number): readonly number[] {
  return [0, 1, 2].filter((node) => (bits & (1 << node)) !== 0);
}

function withGateway(state: State, generation: number, gateway: Gateway): State {
  const [first, second] = state.gateways;
  return { ...state, gateways: generation === 1 ? [gateway, second] : [first, gateway] };
}

/** Walks every state that the model can reach, breadth first: the first violation has a shortest story. */
import { next, type Rules, START, type State } from './protocol.ts';
import { keyOf as keyOfWay } from './register.ts';

export interface Exploration {
  readonly stateCount: number;
  /** False when the limit came first. */
  readonly isComplete: boolean;
  /** The steps that lead to a violation, and what it is; empty when there is none. */
  readonly story: readonly string[];
}

interface Found {
  readonly state: State;
  readonly from: number;
  readonly what: string;
}

export function explore(rules: Rules, statesMax: number): Exploration {
  const known = new Set<string>([keyOf(START)]);
  const found: Found[] = [{ state: START, from: -1, what: '' }];
  for (let index = 0; index < found.length; index += 1) {
    const { state } = found[index] as Found;
    for (const step of next(state, rules)) {
      if (step.violation !== undefined) {
        const story = [...storyOf(found, index), step.violation];
        return { stateCount: found.length, isComplete: false, story };
      }
      const key = keyOf(step.state);
      if (known.has(key)) continue;
      if (found.length >= statesMax)
        return { stateCount: found.length, isComplete: false, story: [] };
      known.add(key);
      found.push({ state: step.state, from: index, what: step.what });
    }
  }
  return { stateCount: found.length, isComplete: true, story: [] };
}

function storyOf(found: readonly Found[], last: number): string[] {
  const story: string[] = [];
  for (let at = last; at > 0; at = found[at]?.from ?? 0) story.unshift(found[at]?.what ?? '');
  return story;
}

/** Messages are a set: the order in which they were sent plays no part. */
function keyOf(state: State): string {
  const messages = state.messages
    .map(
      ({ kind, generation, epoch, replica, value }) =>
        `${kind[0]}${generation}${epoch}${replica}${value}`,
    )
    .sort();
  const { manager, gateways } = state;
  const writes = gateways.map(
    ({ isServing, write, count }) =>
      `${isServing ? 1 : 0}${count}${write === null ? '' : `${write.value}.${write.epoch}.${write.pending}`}`,
  );
  const ways = state.register.map((way) => keyOfWay(way)).sort();
  const sets = `${manager.members.join('.')}|${manager.fenced}|${state.generation}|${state.leases}`;
  const nodes = `${state.maps.join('')}|${state.values.join('.')}|${state.adopted.join('')}|${state.accepted.join('')}`;
  return `${sets}|${nodes}|${writes.join()}|${[...new Set(messages)].join()}|${ways}`;
}

/**
 * What a scheduler that does not lead answers below `/v1`. Reads are passed on to the leader and its
 * answer back, streams too; when nobody leads, or the leader does not answer, they are answered from
 * the store's facts, and headers say so. Changes are sent to the leader with 307; without one they get
 * 503 and when to try again.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Agent, request as send } from 'undici';
import { StorageError } from '../../shared/base/errors.ts';
import type { LeaderRecord, Log } from '../../shared/ports.ts';
import type { ManagerPort } from './manager-port.ts';
import type { StandbyPort } from './standby-port.ts';
import { assertLeading } from './waiting.ts';

/** On an answer from the store's facts: their age in whole seconds. */
export const SNAPSHOT_AGE_HEADER = 'cistern-snapshot-age';
/** A request that a standby passed on: whoever gets it passes it no further. */
export const PASSED_ON_HEADER = 'cistern-passed-on';
/** Who sent the answer that was passed back. */
export const LEADER_HEADER = 'cistern-leader';

/** An election takes seconds; asking more often than this helps nobody. */
const RETRY_AFTER_SECONDS = 2;
/** A leader answers reads from memory; one that takes longer is stopped, or cut off. */
const ANSWER_MS = 3_000;
const CONNECT_MS = 1_000;
/** After a leader did not answer it is not asked again for so long: readers shall not wait each time. */
const SILENT_LEADER_MS = 3_000;
/** What the caller's request says that its answer may depend on. */
const PASSED_HEADERS = ['accept', 'last-event-id', 'if-none-match'] as const;

export interface StandbyModules {
  readonly manager: ManagerPort;
  readonly standby: StandbyPort;
  readonly log: Log;
}

/** Before every route of `app`; a leading process answers by itself. */
export function addStandbyRules(app: FastifyInstance, modules: StandbyModules): void {
  const { manager, standby } = modules;
  const relay = new Relay(modules.log);
  app.addHook('onRequest', async (request, reply) => {
    if (manager.leadership().isLeading) return undefined;
    if (manager.leadership().isStandby !== true) assertLeading(manager);
    const leader = await findOther(standby);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      if (leader === null) throw refuse(reply, 'Nobody leads the cluster at the moment');
      return reply.status(307).header('location', `${leader.address}${request.url}`).send();
    }
    if (leader !== null && request.headers[PASSED_ON_HEADER] === undefined) {
      if (await relay.pass(leader, request, reply)) return reply;
    }
    if (request.routeOptions.url?.endsWith('stream') === true) {
      throw refuse(reply, 'Nobody leads the cluster at the moment, so nothing can be followed');
    }
    const ageMs = await standby.followStore();
    void reply.header(SNAPSHOT_AGE_HEADER, Math.floor(ageMs / 1000));
    return undefined;
  });
  app.addHook('onClose', () => relay.close());
}

/** Null also when the store cannot say: then there is nobody to send callers to. */
async function findOther(standby: StandbyPort): Promise<LeaderRecord | null> {
  try {
    const leader = await standby.findLeader();
    // This process may have won a moment ago, and not lead yet.
    return leader === null || leader.address === standby.address ? null : leader;
  } catch {
    return null;
  }
}

function refuse(reply: FastifyReply, message: string): StorageError {
  void reply.header('retry-after', RETRY_AFTER_SECONDS);
  return new StorageError('unavailable', `${message}; try again in ${RETRY_AFTER_SECONDS} s`, {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  });
}

class Relay {
  readonly #log: Log;
  readonly #agent = new Agent({
    connect: { timeout: CONNECT_MS },
    headersTimeout: ANSWER_MS,
    // Streams have no end, and heartbeats of their own.
    bodyTimeout: 0,
  });
  #silent: { readonly address: string; readonly untilMs: number } | null = null;

  constructor(log: Log) {
    this.#log = log;
  }

  /** False, with nothing sent, when the leader did not answer or says that it does not lead. */
  async pass(leader: LeaderRecord, request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
    const { address } = leader;
    if (this.#silent?.address === address && performance.now() < this.#silent.untilMs) return false;
    try {
      const answer = await send(`${address}${request.url}`, {
        dispatcher: this.#agent,
        method: request.method === 'HEAD' ? 'HEAD' : 'GET',
        headers: { ...passedHeaders(request), [PASSED_ON_HEADER]: '1' },
      });
      if (answer.statusCode === 503 || answer.headers[SNAPSHOT_AGE_HEADER] !== undefined) {
        // It does not lead any more, or not yet: our own copy is as good.
        await answer.body.dump();
        return false;
      }
      for (const name of ['content-type', 'content-length', 'cache-control']) {
        const value = answer.headers[name];
        if (value !== undefined) void reply.header(name, value);
      }
      reply.raw.once('close', () => answer.body.destroy());
      // The leader died in the middle of its answer: so does ours.
      answer.body.once('error', () => reply.raw.destroy());
      void reply.status(answer.statusCode).header(LEADER_HEADER, address).send(answer.body);
      return true;
    } catch (error) {
      this.#silent = { address, untilMs: performance.now() + SILENT_LEADER_MS };
      const reason = error instanceof Error ? error.message : String(error);
      this.#log('debug', 'The leader does not answer', { address, reason });
      return false;
    }
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }
}

function passedHeaders(request: FastifyRequest): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const name of PASSED_HEADERS) {
    const value = request.headers[name];
    if (typeof value === 'string') passed[name] = value;
  }
  return passed;
}

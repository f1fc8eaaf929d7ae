/**
 * A scheduler of raw HTTP requests, for tests of the stand-in: sends calls as they are, keeps every
 * event, and waits for events by condition. It has no opinion of its own.
 */

import { type IncomingMessage, request } from 'node:http';
import { type ContentType, decode, encode, JSON_TYPE } from '../../../shared/mesos/codec.ts';
import type {
  FrameworkInfo,
  Offer,
  SchedulerCall,
  SchedulerEvent,
  TaskStatus,
} from '../../../shared/mesos/messages.ts';
import { RecordDecoder } from '../../../shared/mesos/recordio.ts';

export type Answer = {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
};

/** Generous: a slow machine must not fail a test. */
const WAIT_MS = 20_000;

export function post(
  url: string,
  headers: Readonly<Record<string, string>>,
  body: Buffer | string,
  method = 'POST',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method, headers }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () =>
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          body: Buffer.concat(chunks).toString('utf8'),
        }),
      );
      incoming.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

export const FRAMEWORK: FrameworkInfo = {
  user: 'root',
  name: 'cistern',
  failover_timeout: 2_419_200,
  checkpoint: true,
  roles: ['cistern'],
  principal: 'cistern',
  capabilities: [
    { type: 'PARTITION_AWARE' },
    { type: 'MULTI_ROLE' },
    { type: 'RESERVATION_REFINEMENT' },
    { type: 'REGION_AWARE' },
    { type: 'TASK_KILLING_STATE' },
    { type: 'GPU_RESOURCES' },
  ],
  offer_filters: { cistern: { min_allocatable_resources: { quantities: [] } } },
};

export async function waitFor<T>(what: string, find: () => T | undefined): Promise<T> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const found = find();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`Waited ${WAIT_MS} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export class RawScheduler {
  readonly url: string;
  readonly contentType: ContentType;
  readonly events: SchedulerEvent[] = [];
  status = 0;
  streamId = '';
  frameworkId = '';
  /** How the stream ended: undefined while it lasts, true with a proper last chunk. */
  endedProperly: boolean | undefined;
  /** Acknowledge every update as it comes. */
  acknowledges = true;
  #incoming: IncomingMessage | undefined;
  /** Per type of event: what comes after the one that was waited for last. */
  readonly #seen = new Map<string, number>();

  constructor(masterUrl: string, contentType: ContentType = JSON_TYPE) {
    this.url = `${masterUrl}/api/v1/scheduler`;
    this.contentType = contentType;
  }

  /** Subscribes; resolves when the status is there. */
  subscribe(info: FrameworkInfo = FRAMEWORK, more: Partial<SchedulerCall> = {}): Promise<number> {
    const call: SchedulerCall = {
      type: 'SUBSCRIBE',
      framework_id: info.id,
      subscribe: { framework_info: info },
      ...more,
    };
    return new Promise((resolve, reject) => {
      const headers = { 'Content-Type': this.contentType, Accept: this.contentType };
      const outgoing = request(this.url, { method: 'POST', headers }, (incoming) => {
        this.#incoming = incoming;
        this.status = incoming.statusCode ?? 0;
        this.streamId = String(incoming.headers['mesos-stream-id'] ?? '');
        const decoder = new RecordDecoder();
        incoming.on('data', (chunk: Buffer) => {
          if (this.status !== 200) return;
          for (const record of decoder.push(chunk)) this.#take(record);
        });
        incoming.on('end', () => {
          this.endedProperly = incoming.complete;
        });
        incoming.on('error', () => {
          this.endedProperly = false;
        });
        resolve(this.status);
      });
      outgoing.on('error', reject);
      outgoing.end(encode('scheduler.Call', call, this.contentType));
    });
  }

  #take(record: Buffer): void {
    const event = decode('scheduler.Event', record, this.contentType);
    this.events.push(event);
    if (event.subscribed !== undefined) this.frameworkId = event.subscribed.framework_id.value;
    if (!this.acknowledges) return;
    if (event.update !== undefined) void this.acknowledge(event.update.status);
    const operation = event.update_operation_status?.status;
    if (operation?.uuid === undefined || operation.operation_id === undefined) return;
    void this.call({
      type: 'ACKNOWLEDGE_OPERATION_STATUS',
      acknowledge_operation_status: {
        agent_id: operation.agent_id,
        uuid: operation.uuid.value,
        operation_id: operation.operation_id,
      },
    });
  }

  async acknowledge(status: TaskStatus): Promise<void> {
    if (status.uuid === undefined || status.agent_id === undefined) return;
    await this.call({
      type: 'ACKNOWLEDGE',
      acknowledge: { agent_id: status.agent_id, task_id: status.task_id, uuid: status.uuid },
    });
  }

  call(call: SchedulerCall, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const full = { framework_id: { value: this.frameworkId }, ...call };
    return post(
      this.url,
      { 'Content-Type': this.contentType, 'Mesos-Stream-Id': this.streamId, ...headers },
      encode('scheduler.Call', full, this.contentType),
    );
  }

  /** Waits for an event after those of its type that were waited for before, and returns it. */
  async next(
    what: string,
    matches: (event: SchedulerEvent) => boolean | undefined,
  ): Promise<SchedulerEvent> {
    return waitFor(`${what} of ${this.events.map((one) => one.type).join(' ')}`, () => {
      const index = this.events.findIndex(
        (event, at) => at >= (this.#seen.get(event.type ?? '') ?? 0) && matches(event) === true,
      );
      const found = this.events[index];
      if (found !== undefined) this.#seen.set(found.type ?? '', index + 1);
      return found;
    });
  }

  async nextOffer(agent?: string): Promise<Offer> {
    const isMeant = (offer: Offer) => agent === undefined || offer.hostname === agent;
    const event = await this.next('an offer', (one) => one.offers?.offers?.some(isMeant));
    const offer = event.offers?.offers?.find(isMeant);
    if (offer === undefined) throw new Error('The event has no such offer');
    return offer;
  }

  async nextUpdate(taskId: string, state: string): Promise<TaskStatus> {
    const event = await this.next(`${taskId} ${state}`, ({ update }) =>
      update === undefined
        ? false
        : update.status.task_id.value === taskId && update.status.state === state,
    );
    if (event.update === undefined) throw new Error('The event has no update');
    return event.update.status;
  }

  async nextOperation(operationId: string): Promise<string> {
    const event = await this.next(
      operationId,
      (one) => one.update_operation_status?.status.operation_id?.value === operationId,
    );
    return event.update_operation_status?.status.state ?? '';
  }

  close(): void {
    this.#incoming?.destroy();
  }
}

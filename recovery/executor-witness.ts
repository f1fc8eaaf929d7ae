/**
 * Adapter: asks running executors what they remember. One that answers names all the others in its map, so
 * that a single address is enough.
 */
import grpc from '@grpc/grpc-js';
import { describeError, StorageError } from '../shared/base/errors.ts';
import type { NodeMemory } from '../shared/model/recall.ts';
import type { ControlCodec } from '../shared/node/control-codec.ts';
import {
  CONTROL_CHANNEL_OPTIONS,
  RECALL_METHOD,
  type RecallRequest,
} from '../shared/node/control-service.ts';
import { readKnownMap } from './known-map.ts';
import type { Witness } from './witness.ts';

/** Longer than an executor waits for its data process. */
const ANSWER_MS = 15_000;
/** Asked at a time. */
const PARALLEL = 16;

export interface Hearing {
  readonly witnesses: readonly Witness[];
  /** Who did not answer, and why. */
  readonly silent: readonly string[];
}

export async function hearExecutors(
  codec: ControlCodec,
  addresses: readonly string[],
): Promise<Hearing> {
  const witnesses: Witness[] = [];
  const silent: string[] = [];
  const known = new Set<string>();
  let next = [...addresses];
  while (next.length > 0) {
    const batch = next.filter((address) => !known.has(address)).slice(0, PARALLEL);
    next = next.filter((address) => !known.has(address) && !batch.includes(address));
    for (const address of batch) known.add(address);
    const answers = await Promise.allSettled(batch.map((address) => askExecutor(codec, address)));
    answers.forEach((answer, index) => {
      if (answer.status === 'rejected') {
        silent.push(`${batch[index] ?? ''}: ${describeError(answer.reason)}`);
        return;
      }
      witnesses.push(answer.value);
      next.push(...grantAddresses(answer.value));
    });
  }
  return { witnesses: withoutDoubles(witnesses), silent };
}

/** Where the nodes of its map answer. */
export function grantAddresses({ known }: Witness): readonly string[] {
  return (known?.map.nodes ?? []).flatMap(({ grantAddress }) => grantAddress ?? []);
}

/** A node may have been asked under two names. */
function withoutDoubles(witnesses: readonly Witness[]): readonly Witness[] {
  return witnesses.filter(
    (one, index) =>
      witnesses.findIndex(
        (other) => other.node === one.node && other.clusterId === one.clusterId,
      ) === index,
  );
}

async function askExecutor(codec: ControlCodec, address: string): Promise<Witness> {
  const memory = await recall(address);
  const source = `executor ${address}`;
  const { clusterId, node, map, disks } = memory;
  const known = map === null ? null : readKnownMap(codec, Buffer.from(map, 'base64'));
  return { source, clusterId, node, known, disks };
}

function recall(address: string): Promise<NodeMemory> {
  const client = new grpc.Client(
    address,
    grpc.credentials.createInsecure(),
    CONTROL_CHANNEL_OPTIONS,
  );
  return new Promise<NodeMemory>((resolve, reject) => {
    client.makeUnaryRequest<RecallRequest, NodeMemory>(
      RECALL_METHOD.path,
      RECALL_METHOD.requestSerialize,
      RECALL_METHOD.responseDeserialize,
      {},
      new grpc.Metadata(),
      { deadline: Date.now() + ANSWER_MS },
      (error, memory) => {
        if (error === null && memory !== undefined) resolve(memory);
        else {
          const why = error?.details ?? 'it sent nothing';
          const what = `Executor "${address}" does not say what it remembers: ${why}`;
          reject(new StorageError('unavailable', what, { address }));
        }
      },
    );
  }).finally(() => client.close());
}

/** etcd's messages ⇄ bytes, by reflection over `proto/etcd/rpc.proto`. 64-bit numbers are texts here. */
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { StorageError } from '../../shared/base/errors.ts';

export interface KeyValue {
  readonly key: Buffer;
  readonly createRevision: string;
  readonly modRevision: string;
  readonly value: Buffer;
}

export interface RangeRequest {
  readonly key: Buffer;
  readonly rangeEnd?: Buffer;
  readonly limit?: number;
  readonly sortOrder?: number;
  readonly sortTarget?: number;
  readonly keysOnly?: boolean;
}

export interface RangeResponse {
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
}

export type Compare =
  | { readonly target: 1; readonly key: Buffer; readonly createRevision: string }
  | { readonly target: 2; readonly key: Buffer; readonly modRevision: string };

export type RequestOp =
  | { readonly requestRange: RangeRequest }
  | {
      readonly requestPut: {
        readonly key: Buffer;
        readonly value: Buffer;
        readonly lease?: string;
      };
    }
  | { readonly requestDeleteRange: { readonly key: Buffer } };

export interface TxnRequest {
  readonly compare: readonly Compare[];
  readonly success: readonly RequestOp[];
  readonly failure: readonly RequestOp[];
}

export interface TxnResponse {
  readonly header: { readonly revision: string };
  readonly succeeded: boolean;
  readonly responses: readonly { readonly responseRange?: RangeResponse }[];
}

/** What each call takes and gives. */
export interface EtcdCalls {
  readonly range: { readonly request: RangeRequest; readonly response: RangeResponse };
  readonly txn: { readonly request: TxnRequest; readonly response: TxnResponse };
  readonly grant: {
    readonly request: { readonly TTL: number };
    readonly response: { readonly ID: string; readonly TTL: string };
  };
  readonly revoke: { readonly request: { readonly ID: string }; readonly response: object };
  readonly keepAlive: {
    readonly request: { readonly ID: string };
    readonly response: { readonly ID: string; readonly TTL: string };
  };
  readonly authenticate: {
    readonly request: { readonly name: string; readonly password: string };
    readonly response: { readonly token: string };
  };
}

export type EtcdCall = keyof EtcdCalls;

const METHODS: Readonly<Record<EtcdCall, readonly [path: string, message: string]>> = {
  range: ['/etcdserverpb.KV/Range', 'Range'],
  txn: ['/etcdserverpb.KV/Txn', 'Txn'],
  grant: ['/etcdserverpb.Lease/LeaseGrant', 'LeaseGrant'],
  revoke: ['/etcdserverpb.Lease/LeaseRevoke', 'LeaseRevoke'],
  keepAlive: ['/etcdserverpb.Lease/LeaseKeepAlive', 'LeaseKeepAlive'],
  authenticate: ['/etcdserverpb.Auth/Authenticate', 'Authenticate'],
};

export interface EtcdMethod<C extends EtcdCall> {
  readonly path: string;
  encode(request: EtcdCalls[C]['request']): Buffer;
  decode(bytes: Buffer): EtcdCalls[C]['response'];
}

export type EtcdWire = { readonly [C in EtcdCall]: EtcdMethod<C> };

/** Reads the definitions once. Throws `not-found` when they are not there. */
export function loadEtcdWire(protoDirectory: string): EtcdWire {
  const path = join(protoDirectory, 'etcd', 'rpc.proto');
  const root = new protobuf.Root();
  try {
    root.loadSync(path);
  } catch (error) {
    throw new StorageError('not-found', `Definitions "${path}" cannot be read`, { path }, error);
  }
  const method = <C extends EtcdCall>(call: C): EtcdMethod<C> => {
    const [methodPath, message] = METHODS[call];
    const request = root.lookupType(`etcdserverpb.${message}Request`);
    const response = root.lookupType(`etcdserverpb.${message}Response`);
    return {
      path: methodPath,
      encode: (value) => Buffer.from(request.encode(request.fromObject(value)).finish()),
      decode: (bytes) =>
        response.toObject(response.decode(bytes), {
          longs: String,
          bytes: Buffer,
          defaults: true,
          arrays: true,
        }) as EtcdCalls[C]['response'],
    };
  };
  return {
    range: method('range'),
    txn: method('txn'),
    grant: method('grant'),
    revoke: method('revoke'),
    keepAlive: method('keepAlive'),
    authenticate: method('authenticate'),
  };
}

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import fc from 'fast-check';
import { StorageError } from '../../../shared/base/errors.ts';
import { buildDescriptorModule } from '../../../shared/mesos/build-descriptor.ts';
import { decode, encode, JSON_TYPE, PROTOBUF_TYPE } from '../../../shared/mesos/codec.ts';
import type { Resource, SchedulerCall, SchedulerEvent } from '../../../shared/mesos/messages.ts';

const VOLUME: Resource = {
  name: 'disk',
  type: 'SCALAR',
  scalar: { value: 0.001 },
  allocation_info: { role: 'cistern' },
  reservations: [
    { type: 'DYNAMIC', role: 'cistern', labels: { labels: [{ key: 'a', value: '' }] } },
  ],
  disk: {
    persistence: { id: 'p1' },
    volume: { mode: 'RW', container_path: 'd' },
    source: { type: 'MOUNT', mount: { root: '/mnt/1' } },
  },
};

const ACCEPT: SchedulerCall = {
  framework_id: { value: 'f' },
  type: 'ACCEPT',
  accept: {
    offer_ids: [{ value: 'o1' }],
    operations: [{ type: 'CREATE', id: { value: 'op' }, create: { volumes: [VOLUME] } }],
    filters: { refuse_seconds: 0 },
  },
};

function failure(action: () => unknown): StorageError {
  try {
    action();
  } catch (error) {
    if (error instanceof StorageError) return error;
    throw error;
  }
  throw new Error('No error was thrown');
}

function fromJson(text: string): SchedulerCall {
  return decode('scheduler.Call', Buffer.from(text), JSON_TYPE);
}

describe('mesos codec', () => {
  it('descriptor: built from the proto files again, the same text', () => {
    const committed = readFileSync('shared/mesos/descriptor.ts', 'utf8');
    expect(buildDescriptorModule('proto')).to.equal(committed);
  });

  it('a call in both content types, comes back equal', () => {
    for (const type of [JSON_TYPE, PROTOBUF_TYPE] as const) {
      const bytes = encode('scheduler.Call', ACCEPT, type);
      expect(decode('scheduler.Call', bytes, type)).to.deep.equal(ACCEPT);
    }
  });

  it('protobuf: golden bytes of a status', () => {
    const bytes = encode(
      'TaskStatus',
      {
        task_id: { value: 't' },
        state: 'TASK_STARTING',
        healthy: false,
        uuid: Buffer.from('01', 'hex'),
      },
      PROTOBUF_TYPE,
    );
    expect(bytes.toString('hex')).to.equal('0a030a01741000400' + '05a0101');
  });

  it('protobuf: unset fields are not there, not even as defaults', () => {
    const bytes = encode(
      'TaskStatus',
      { task_id: { value: 't' }, state: 'TASK_LOST' },
      PROTOBUF_TYPE,
    );
    const status = decode('TaskStatus', bytes, PROTOBUF_TYPE);
    expect(Object.keys(status).sort()).to.deep.equal(['state', 'task_id']);
    expect(status.reason).to.equal(undefined);
  });

  it('protobuf: an empty message that is present stays present', () => {
    const info = {
      user: 'root',
      name: 'n',
      offer_filters: { cistern: { min_allocatable_resources: {} } },
    };
    const bytes = encode('FrameworkInfo', info, PROTOBUF_TYPE);
    expect(decode('FrameworkInfo', bytes, PROTOBUF_TYPE)).to.deep.equal(info);
  });

  it('protobuf: fields of a newer Mesos, echoed', () => {
    const known = encode('Resource', VOLUME, PROTOBUF_TYPE);
    const unknown = Buffer.from([0xa2, 0x06, 0x03, 0x61, 0x62, 0x63]); // field 100, "abc"
    const resource = decode('Resource', Buffer.concat([known, unknown]), PROTOBUF_TYPE);
    const copy = { ...resource, name: 'disk' };
    expect(encode('Resource', copy, PROTOBUF_TYPE)).to.deep.equal(Buffer.concat([known, unknown]));
  });

  it('protobuf: every truncation, refused or a smaller message, never another error', () => {
    const bytes = encode('scheduler.Call', ACCEPT, PROTOBUF_TYPE);
    for (let length = 0; length < bytes.length; length++) {
      try {
        decode('scheduler.Call', bytes.subarray(0, length), PROTOBUF_TYPE);
      } catch (error) {
        expect(error, `${length} bytes`).to.be.instanceOf(StorageError);
      }
    }
  });

  it('protobuf and JSON: random bytes, a message or a protocol error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, isJson) => {
        try {
          decode('scheduler.Event', bytes, isJson ? JSON_TYPE : PROTOBUF_TYPE);
        } catch (error) {
          expect(error).to.be.instanceOf(StorageError).with.property('code', 'protocol');
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('64-bit integers beyond 2^53, exact digits in both content types', () => {
    const event: SchedulerEvent = {
      type: 'INVERSE_OFFERS',
      inverse_offers: {
        inverse_offers: [
          {
            id: { value: 'i' },
            framework_id: { value: 'f' },
            unavailability: {
              start: { nanoseconds: '1795175818235738112' },
              duration: { nanoseconds: 3_600_000_000_000 },
            },
          },
        ],
      },
    };
    for (const type of [JSON_TYPE, PROTOBUF_TYPE] as const) {
      const bytes = encode('scheduler.Event', event, type);
      expect(decode('scheduler.Event', bytes, type)).to.deep.equal(event);
    }
    expect(encode('scheduler.Event', event, JSON_TYPE).toString()).to.include(
      ':1795175818235738112}',
    );
  });

  it('JSON: unknown fields ignored but reported, null unset, bare values are lists', () => {
    const findings = { ignored: [] as string[] };
    const call = decode(
      'scheduler.Call',
      Buffer.from('{"type":"REVIVE","revive":{"roles":"a"},"decline":null,"filtres":{"x":1}}'),
      JSON_TYPE,
      findings,
    );
    expect(call).to.deep.equal({ type: 'REVIVE', revive: { roles: ['a'] } });
    expect(findings.ignored).to.deep.equal(['filtres']);
  });

  it('JSON: digits in a string are not touched', () => {
    const call = fromJson(
      '{"framework_id":{"value":"12345678901234567890 \\"98765432109876543210"}}',
    );
    expect(call.framework_id?.value).to.equal('12345678901234567890 "98765432109876543210');
  });

  it('JSON: what Mesos refuses, refused in its words', () => {
    const cases: readonly (readonly [string, string])[] = [
      ['{"type":1}', "Not expecting a JSON number for field 'type'"],
      ['{"type":"SUBSCRIBEX","subscribe":{}}', 'Missing required fields: subscribe.framework_info'],
      ['{"decline":{"offer_ids":[{"value":7}]}}', "Not expecting a JSON number for field 'value'"],
      ['{"subscribe":{"framework_info":{"name":"n"}}}', 'subscribe.framework_info.user'],
      ['', 'Failed to parse body into JSON'],
    ];
    for (const [text, expected] of cases) {
      const error = failure(() => fromJson(text));
      expect(error.code, text).to.equal('protocol');
      expect(error.message, text).to.include(expected);
    }
  });

  it('encode: a wrong field, named in the error', () => {
    const wrong = { ...ACCEPT, filtres: {} };
    expect(failure(() => encode('scheduler.Call', wrong, PROTOBUF_TYPE)).message).to.include(
      'Call.filtres',
    );
    const missing = { task_id: {}, state: 'TASK_LOST' } as never;
    expect(failure(() => encode('TaskStatus', missing, PROTOBUF_TYPE)).message).to.include(
      'TaskStatus.task_id.value',
    );
  });
});

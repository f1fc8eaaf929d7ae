/**
 * Bodies of the operator's API, sent to the real server: whatever they hold, the answer is a refusal in the
 * usual form, or the command was carried out; never a failure of the server.
 */
import { expect } from 'chai';
import type { Prng } from '../../../shared/base/prng.ts';
import { MiB } from '../../../shared/base/units.ts';
import type { ErrorView } from '../../../shared/model/api-views.ts';
import { startFixture } from '../../fixture/api-fixture.ts';
import { SMALL } from '../../fixture/cluster-views.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { expectReason } from './fuzz-target.ts';
import { EXTREMES } from './mutation.ts';

/** First byte of an input: which of them; the rest is the body. */
const ROUTES: readonly (readonly [string, string])[] = [
  ['POST', '/volumes'],
  ['PATCH', '/volumes/db'],
  ['POST', '/volumes/db/attach'],
  ['POST', '/volumes/db/detach'],
  ['DELETE', '/volumes/nobody'],
  ['PATCH', '/pools/default'],
  ['POST', '/nodes/1/drain'],
  ['PATCH', '/disks/1'],
  ['POST', '/jobs/1/cancel'],
];

const BODIES = [
  '{"name":"fresh","sizeBytes":1073741824,"replicas":2}',
  '{"durability":"flush"}',
  '{"node":"1","force":true}',
  '{"replicas":3,"minInSync":2}',
  '{}',
];

export async function apiTarget(): Promise<FuzzTarget> {
  const api = await startFixture(SMALL);
  return {
    name: 'api',
    corpus: BODIES.map((body, index) => Buffer.concat([Buffer.from([index]), Buffer.from(body)])),
    generate,
    truncations: 30,
    memoryBytesMax: 64 * MiB,
    run: async (input) => {
      const [method, path] = ROUTES[(input[0] ?? 0) % ROUTES.length] ?? ['POST', '/volumes'];
      const response = await fetch(`${api.url}/v1${path}?wait=0`, {
        method,
        body: input.subarray(1),
        headers: { 'content-type': 'application/json' },
      });
      const text = await response.text();
      expect(response.status, text).to.not.equal(500);
      if (response.status < 400) return;
      const answer: unknown = JSON.parse(text);
      expect(answer).to.have.property('code').that.is.a('string');
      expect(answer).to.have.property('message').that.is.a('string');
      expectReason((answer as ErrorView).message);
    },
    close: () => api.close(),
  };
}

function generate(prng: Prng): Buffer {
  const value = (depth: number): string =>
    prng.pick([
      () => String(prng.pick(EXTREMES)),
      () => `-${prng.pick(EXTREMES)}`,
      () => prng.pick(['1e999', '0.1', 'true', 'null', '""', '"vol-1"', '"\\u0000"', '"\\ud800"']),
      () => JSON.stringify('x'.repeat(prng.below(400))),
      () => (depth > 3 ? '[]' : `[${value(depth + 1)},${value(depth + 1)}]`),
      () => (depth > 3 ? '{}' : `{"name":${value(depth + 1)}}`),
    ])();
  const names = [
    'name',
    'sizeBytes',
    'replicas',
    'pool',
    'node',
    'force',
    'durability',
    '__proto__',
  ];
  const fields = Array.from({ length: prng.below(5) }, () => `"${prng.pick(names)}":${value(0)}`);
  const route = Buffer.from([prng.below(ROUTES.length)]);
  return Buffer.concat([route, Buffer.from(`{${fields.join(',')}}`)]);
}

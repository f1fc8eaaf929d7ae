import { expect } from 'chai';
import fc from 'fast-check';
import { StorageError } from '../../../shared/base/errors.ts';
import { diskId, nodeId } from '../../../shared/base/ids.ts';
import {
  decodeHint,
  decodeTaskData,
  encodeHint,
  encodeTaskData,
  type TaskData,
} from '../../../shared/model/task-data.ts';

const SAMPLE: TaskData = {
  format: 1,
  clusterId: 'c',
  node: nodeId(3),
  disk: diskId(7),
  uuid: 'u',
  containerPath: 'disk-d7',
  capacityBytes: 1024,
  controlAddress: 'h:1',
  term: 4,
};

describe('task data', () => {
  it('round trip', () => {
    expect(decodeTaskData(encodeTaskData(SAMPLE))).to.deep.equal(SAMPLE);
    expect(decodeHint(encodeHint({ kind: 'where' }))).to.deep.equal({ kind: 'where' });
  });

  const bad: readonly (readonly [string, unknown])[] = [
    ['format', 2],
    ['clusterId', ''],
    ['node', -1],
    ['disk', 1.5],
    ['containerPath', '../etc'],
    ['containerPath', 'a/b'],
    ['capacityBytes', '1024'],
    ['term', null],
  ];
  for (const [field, value] of bad) {
    it(`${field} ${JSON.stringify(value)}: refused`, () => {
      const bytes = Buffer.from(JSON.stringify({ ...SAMPLE, [field]: value }));
      expect(() => decodeTaskData(bytes)).to.throw(StorageError);
    });
  }

  it('any bytes: a value or a StorageError, never anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const decode of [decodeTaskData, decodeHint]) {
          try {
            decode(bytes);
          } catch (error) {
            expect(error).to.be.instanceOf(StorageError);
          }
        }
      }),
    );
  });
});

/** Which copy of a block a rescue takes, and what it says of it. */
import { expect } from 'chai';
import { setPresence } from '../../../executor/disk/presence.ts';
import {
  chooseBlock,
  type ExtentCopy,
  isPlain,
  rankCopies,
  STANDING,
  UNREADABLE_BLOCK,
} from '../../../recovery/block-choice.ts';
import { crc32c } from '../../../shared/base/crc32c.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT, EXTENT_BYTES } from '../../../shared/base/units.ts';
import { PRESENCE } from '../../../shared/wire/data-protocol.ts';

const BLOCK = 3;

interface Sample {
  readonly standing?: number;
  readonly epoch?: number;
  /** Null: absent. */
  readonly text: string | null;
  /** The bytes on the disk are others than the checksum says. */
  readonly isRotten?: boolean;
}

function copyOf(sample: Sample, disk: number): { copy: ExtentCopy; bytes: Uint8Array } {
  const { standing = STANDING.inSync, epoch = 5, text, isRotten = false } = sample;
  const presence = new Uint8Array(BLOCKS_PER_EXTENT / 4);
  const checksums = Buffer.alloc(4 * BLOCKS_PER_EXTENT);
  const bytes = Buffer.alloc(EXTENT_BYTES);
  if (text !== null) {
    const data = Buffer.alloc(BLOCK_BYTES, text);
    setPresence(presence, BLOCK, 1, PRESENCE.data);
    checksums.writeUInt32LE(crc32c(data), 4 * BLOCK);
    data.copy(bytes, BLOCK * BLOCK_BYTES);
    if (isRotten) bytes[BLOCK * BLOCK_BYTES] = 0;
  }
  return { copy: { disk, standing, epoch, presence, checksums }, bytes };
}

function choose(...samples: readonly Sample[]): string {
  const made = samples.map((sample, index) => copyOf(sample, index + 1));
  const ranked = rankCopies(made.map(({ copy }) => copy));
  const bytes = ranked.map((copy) => made[copy.disk - 1]?.bytes ?? new Uint8Array(0));
  const { verdict, from } = chooseBlock(ranked, bytes, BLOCK);
  const plain = isPlain(ranked, bytes[0] ?? new Uint8Array(0)) ? ' plain' : '';
  return `${verdict} d${ranked[from]?.disk ?? 0}${plain}`;
}

describe('recovery: choice of a block', () => {
  const cases: readonly (readonly [string, readonly Sample[], string])[] = [
    ['in-sync copies agree', [{ text: 'a' }, { text: 'a' }], 'good d1 plain'],
    ['one in-sync copy', [{ text: 'a' }], 'good d1 plain'],
    ['in-sync copies differ', [{ text: 'a' }, { text: 'b' }], 'conflicting d1'],
    [
      'they differ, one is of a later epoch',
      [{ text: 'a' }, { text: 'b', epoch: 6 }],
      'conflicting d2',
    ],
    ['one has it, the other one knows nothing', [{ text: null }, { text: 'b' }], 'conflicting d0'],
    [
      'the first rots, the second is the same',
      [{ text: 'a', isRotten: true }, { text: 'a' }],
      'good d2',
    ],
    ['the second rots', [{ text: 'a' }, { text: 'a', isRotten: true }], 'good d1 plain'],
    [
      'the first rots, the second was another',
      [{ text: 'a', isRotten: true }, { text: 'b' }],
      'conflicting d2',
    ],
    [
      'both rot',
      [
        { text: 'a', isRotten: true },
        { text: 'a', isRotten: true },
      ],
      'lost d0',
    ],
    [
      'in sync before complete, whatever its epoch',
      [{ text: 'b', standing: STANDING.complete, epoch: 9 }, { text: 'a' }],
      'good d2 plain',
    ],
    [
      'the in-sync one rots, a joining one has the same',
      [
        { text: 'a', isRotten: true },
        { text: 'a', standing: STANDING.incomplete },
      ],
      'good d2',
    ],
    [
      'the in-sync one rots, a joining one has another',
      [
        { text: 'a', isRotten: true },
        { text: 'b', standing: STANDING.incomplete },
      ],
      'older d2',
    ],
    [
      'nobody in sync: the later epoch',
      [
        { text: 'a', standing: STANDING.complete },
        { text: 'b', standing: STANDING.complete, epoch: 6 },
      ],
      'older d2',
    ],
    [
      'nobody in sync, one epoch, two contents',
      [
        { text: 'a', standing: STANDING.complete },
        { text: 'b', standing: STANDING.complete },
      ],
      'conflicting d1',
    ],
    ['no copy', [], 'lost d0'],
  ];
  for (const [what, samples, expected] of cases) {
    it(`${what}: ${expected}`, () => expect(choose(...samples)).to.equal(expected));
  }

  it('an unreadable block: no copy, even if its checksum was computed of what stands for it', () => {
    const { copy, bytes } = copyOf({ text: UNREADABLE_BLOCK.toString('latin1') }, 1);
    expect(chooseBlock([copy], [bytes], BLOCK).verdict).to.equal('lost');
  });
});

/** Volumes' bytes in turns: what executors send in parts is what the manager adds up. */
import { expect } from 'chai';
import { UsageTurns } from '../../../executor/replica/usage-turns.ts';
import { UsageBook } from '../../../scheduler/core/capacity/usage-book.ts';
import { diskId, type NodeId, nodeId, type VolumeId, volumeId } from '../../../shared/base/ids.ts';
import { EMPTY_REPORT, type VolumeUsage } from '../../../shared/model/node-report.ts';

const NODE = nodeId(1);
const ALL = (): boolean => true;

/** Two disks with something of each volume. */
function usageOf(volumes: readonly number[], bytes = 10): VolumeUsage[] {
  return [1, 2].flatMap((disk) =>
    volumes.map((volume) => ({ volume: volumeId(volume), disk: diskId(disk), bytes })),
  );
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

function report(
  book: UsageBook,
  turns: UsageTurns,
  volumes: readonly number[],
  node: NodeId = NODE,
): void {
  book.take(node, { ...EMPTY_REPORT, ...turns.take(usageOf(volumes)) }, ALL);
}

function sumOf(book: UsageBook, volume: number): number {
  return book.sum(new Set([volumeId(volume) as VolumeId]), ALL).get(volumeId(volume)) ?? 0;
}

describe('usage book: volumes in turns', () => {
  it('usage book: few volumes, every report is whole', () => {
    const turns = new UsageTurns();
    const part = turns.take(usageOf(numbers(256)));
    expect(part).to.have.keys('volumeUsage');
    const book = new UsageBook();
    report(book, turns, numbers(3));
    expect(book.isComplete(NODE)).to.equal(true);
    expect([...book.sum(null, ALL).values()]).to.deep.equal([20, 20, 20]);
    report(book, turns, [1, 3]);
    expect(sumOf(book, 2), 'it has nothing there any more').to.equal(0);
  });

  it('usage book: many volumes, parts are bounded and add up after one turn', () => {
    const turns = new UsageTurns();
    const book = new UsageBook();
    for (let part = 0; part < 4; part += 1) {
      expect(book.isComplete(NODE), `before part ${part}`).to.equal(false);
      report(book, turns, numbers(1000));
    }
    expect(book.isComplete(NODE)).to.equal(true);
    expect(book.sum(null, ALL).size).to.equal(1000);
    expect(new Set(book.sum(null, ALL).values())).to.deep.equal(new Set([20]));
    for (let part = 0; part < 4; part += 1) report(book, turns, numbers(999));
    expect(sumOf(book, 1000)).to.equal(0);
    expect(sumOf(book, 999)).to.equal(20);
  });

  it('usage book: a turn is not seen from its start, or a part is lost, nothing is concluded', () => {
    const turns = new UsageTurns();
    turns.take(usageOf(numbers(1000)));
    const book = new UsageBook();
    for (let part = 0; part < 3; part += 1) report(book, turns, numbers(1000));
    expect(book.isComplete(NODE)).to.equal(false);
    expect(sumOf(book, 1000)).to.equal(20);
    report(book, turns, numbers(1000));
    turns.take(usageOf(numbers(1000)));
    report(book, turns, numbers(1000));
    report(book, turns, numbers(1000));
    expect(book.isComplete(NODE)).to.equal(false);
    expect(sumOf(book, 300), 'what was known is still known').to.equal(20);
    for (let part = 0; part < 4; part += 1) report(book, turns, numbers(1000));
    expect(book.isComplete(NODE)).to.equal(true);
  });

  it('usage book: volumes and nodes that are forgotten leave nothing to those that come', () => {
    const book = new UsageBook();
    report(book, new UsageTurns(), [1, 2]);
    report(book, new UsageTurns(), [2], nodeId(2));
    expect(sumOf(book, 2)).to.equal(40);
    book.forgetVolume(volumeId(2));
    book.take(nodeId(2), { ...EMPTY_REPORT, volumeUsage: usageOf([7], 1) }, ALL);
    expect(sumOf(book, 7)).to.equal(2);
    book.forgetNode(NODE);
    expect(book.isComplete(NODE)).to.equal(false);
    expect(sumOf(book, 1)).to.equal(0);
    book.take(NODE, { ...EMPTY_REPORT, volumeUsage: usageOf([9]) }, () => false);
    expect(book.sum(null, ALL).has(volumeId(9)), 'a deleted volume takes no place').to.equal(false);
  });
});

/** The judge itself: what it must accept, and what it must not let pass. */
import { expect } from 'chai';
import { BlockHistory } from './block-history.ts';

const CELL = 7;

interface Judge {
  readonly history: BlockHistory;
  readonly violations: string[];
  write(number: number): void;
  read(number: number): void;
}

function judge(): Judge {
  const violations: string[] = [];
  const history = new BlockHistory((what) => violations.push(what));
  return {
    history,
    violations,
    write: (number) => history.endWrite(history.beginWrite(1, [CELL], number)),
    read: (number) => history.endRead(history.beginRead(1), new Map([[CELL, number]])),
  };
}

describe('block history', () => {
  it('block history: a new volume, zeros are right and anything else is not', () => {
    const { read, violations } = judge();
    read(0);
    expect(violations).to.deep.equal([]);
    read(5);
    expect(violations).to.have.length(1);
  });

  it('block history: the last acked write is read, an older one is refused', () => {
    const { write, read, violations } = judge();
    write(1);
    write(2);
    read(2);
    expect(violations).to.deep.equal([]);
    read(1);
    expect(violations).to.have.length(1);
  });

  it('block history: a blackout, any un-flushed value is right, and it does not change back', () => {
    for (const survivor of [1, 2, 3]) {
      const { write, read, violations, history } = judge();
      write(1);
      history.endFlush(history.beginRead(1));
      write(2);
      write(3);
      history.blackout();
      read(survivor);
      read(survivor);
      expect(violations, `w${survivor}`).to.deep.equal([]);
      read(survivor === 1 ? 2 : 1);
      expect(violations, `w${survivor}, then another`).to.have.length(1);
    }
  });

  it('block history: a blackout, what a flush had covered is not overtaken by what was before it', () => {
    const { write, read, violations, history } = judge();
    write(1);
    write(2);
    history.endFlush(history.beginRead(1));
    history.blackout();
    read(2);
    expect(violations).to.deep.equal([]);
    read(1);
    expect(violations).to.have.length(1);
  });

  it('block history: a blackout, a write that was acked after the flush began is not covered', () => {
    const { write, read, violations, history } = judge();
    write(1);
    const flush = history.beginRead(1);
    write(2);
    history.endFlush(flush);
    history.blackout();
    read(1);
    expect(violations).to.deep.equal([]);
  });

  it('block history: a blackout, a durable write stays and an unanswered one may be there', () => {
    const { read, violations, history } = judge();
    history.endWrite(history.beginWrite(1, [CELL], 1, true));
    history.beginWrite(1, [CELL], 2, true);
    history.blackout();
    read(0);
    expect(violations).to.have.length(1);
    read(2);
    expect(violations).to.have.length(1);
  });

  it('block history: torn cells, right after a blackout in doubt and nowhere else', () => {
    const { write, read, violations, history } = judge();
    write(1);
    write(2);
    history.blackout();
    read(-77);
    read(-77);
    expect(violations).to.deep.equal([]);
    read(-78);
    expect(violations).to.have.length(1);
    const other = judge();
    other.write(1);
    other.read(-77);
    expect(other.violations[0]).to.match(/torn or foreign/);
    const flushed = judge();
    flushed.history.endWrite(flushed.history.beginWrite(1, [CELL], 1, true));
    flushed.history.blackout();
    flushed.read(-77);
    expect(flushed.violations).to.have.length(1);
  });

  it('block history: two blackouts, what was read in between stays', () => {
    const { write, read, violations, history } = judge();
    write(1);
    write(2);
    history.blackout();
    read(1);
    history.blackout();
    read(1);
    expect(violations).to.deep.equal([]);
    read(2);
    expect(violations).to.have.length(1);
  });

  it('block history: an acked write is lost, zeros are refused', () => {
    const { write, read, violations } = judge();
    write(1);
    read(0);
    expect(violations).to.have.length(1);
  });

  it('block history: a write without an answer, may appear late but never goes again', () => {
    const { history, write, read, violations } = judge();
    write(1);
    history.beginWrite(1, [CELL], 2);
    read(1);
    read(2);
    expect(violations).to.deep.equal([]);
    read(1);
    expect(violations).to.have.length(1);
  });

  it('block history: a write under way, concurrent reads may see either', () => {
    const { history, write, read, violations } = judge();
    write(1);
    const entry = history.beginWrite(1, [CELL], 2);
    const slow = history.beginRead(1);
    read(2);
    history.endRead(slow, new Map([[CELL, 1]]));
    history.endWrite(entry);
    read(2);
    expect(violations).to.deep.equal([]);
  });

  it('block history: two reads around an ack, refused when the value between them was lost', () => {
    const { history, write, read, violations } = judge();
    const early = history.beginWrite(1, [CELL], 1);
    read(1);
    write(2);
    read(1);
    history.endWrite(early);
    expect(violations).to.not.deep.equal([]);
  });

  it('block history: zeros written after data, read as zeros, the data does not come back', () => {
    const { write, read, violations } = judge();
    write(1);
    write(0);
    read(0);
    expect(violations).to.deep.equal([]);
    read(1);
    expect(violations).to.have.length(1);
  });

  it('block history: many writes, values that were dropped from memory are still refused', () => {
    const { write, read, violations } = judge();
    for (let number = 1; number <= 100; number += 1) write(number);
    read(100);
    expect(violations).to.deep.equal([]);
    read(3);
    expect(violations).to.have.length(1);
  });

  it('block history: an old gateway answers after a newer one has, refused', () => {
    const { history, violations } = judge();
    const before = history.beginWrite(1, [CELL], 1);
    history.endWrite(history.beginWrite(2, [CELL], 2));
    // Begun before the newer gateway's first answer: merely late.
    history.endWrite(before);
    expect(violations).to.deep.equal([]);
    history.endRead(history.beginRead(1), new Map());
    expect(violations).to.have.length(1);
  });
});

/** What people type as sizes, ratios, durations and bounds. */
import { expect } from 'chai';
import { readBound, readCount, readRatio, readSeconds, readSize } from '../../../cli/quantities.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { GiB, MiB } from '../../../shared/base/units.ts';

describe('cli: quantities', () => {
  it('sizes: with and without units', () => {
    expect(readSize('--size', '10G')).to.equal(10 * GiB);
    expect(readSize('--size', '1.5GiB')).to.equal(1.5 * GiB);
    expect(readSize('--size', '512m')).to.equal(512 * MiB);
    expect(readSize('--size', '4096')).to.equal(4096);
  });

  it('ratios: percent and part', () => {
    expect(readRatio('--full-at', '95%')).to.equal(0.95);
    expect(readRatio('--full-at', '0.8')).to.equal(0.8);
  });

  it('durations: seconds, minutes, hours', () => {
    expect(readSeconds('--wait', '90')).to.equal(90);
    expect(readSeconds('--wait', '5m')).to.equal(300);
    expect(readSeconds('--wait', '1h')).to.equal(3600);
  });

  it('bounds: a number or none', () => {
    expect(readBound('--max-disks', 'none')).to.equal(null);
    expect(readBound('--max-disks', '24')).to.equal(24);
    expect(readCount('--limit', '0', 0)).to.equal(0);
  });

  for (const [name, read] of [
    ['size 10X', () => readSize('--x', '10X')],
    ['size 0', () => readSize('--x', '0')],
    ['size -1G', () => readSize('--x', '-1G')],
    ['size 0.3', () => readSize('--x', '0.3')],
    ['ratio 80', () => readRatio('--x', '80')],
    ['ratio 0', () => readRatio('--x', '0')],
    ['ratio 101%', () => readRatio('--x', '101%')],
    ['duration 5d', () => readSeconds('--x', '5d')],
    ['duration soon', () => readSeconds('--x', 'soon')],
    ['bound 0', () => readBound('--x', '0')],
    ['bound all', () => readBound('--x', 'all')],
    ['count 1.5', () => readCount('--x', '1.5', 1)],
    ['count below the least', () => readCount('--x', '0', 1)],
  ] as const) {
    it(`refused: ${name}, the error names the option and what is allowed`, () => {
      expect(read).to.throw(StorageError, /^Field "--x" is ".*", allowed: /);
    });
  }
});

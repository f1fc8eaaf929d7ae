import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { claimDisk, foreignOf } from '../../../executor/disk/disk-claim.ts';
import type { StoreOptions } from '../../../executor/disk/store-types.ts';
import { encodeSuperblock, SUPERBLOCK_NAME } from '../../../executor/disk/superblock.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { GiB } from '../../../shared/base/units.ts';
import type { ForeignFinding } from '../../../shared/model/node-report.ts';
import { LinuxDisk } from '../../../shared/node/linux-disk.ts';
import { type Disk, DiskError } from '../../../shared/ports.ts';

const OURS: StoreOptions = {
  clusterId: 'cluster-1',
  diskId: 7,
  uuid: 'uuid-7',
  capacityBytes: GiB,
  create: true,
};

describe('disk: claiming a directory', () => {
  let path = '';

  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'cistern-claim-'));
  });

  afterEach(() => {
    chmodSync(path, 0o700);
    rmSync(path, { recursive: true });
  });

  /** Everything below the directory, with its bytes: nothing of it may change. */
  function contents(folder = path): string[] {
    return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
      const full = join(folder, entry.name);
      return entry.isDirectory() ? [full, ...contents(full)] : [full, readFileSync(full, 'hex')];
    });
  }

  function refused(options: Partial<StoreOptions> = {}): { code: string; finding: ForeignFinding } {
    const before = contents();
    try {
      claimDisk({ ...OURS, ...options }, new LinuxDisk(path));
    } catch (error) {
      expect(contents(), 'left as it is').to.deep.equal(before);
      const finding = foreignOf(error);
      if (!(error instanceof StorageError) || finding === null) throw error;
      return { code: error.code, finding };
    }
    throw new Error('it was claimed');
  }

  const put = (name: string, bytes: string | Uint8Array): void =>
    writeFileSync(join(path, name), bytes);

  it('empty, or with what a file system brings along: ours from now on, and again', () => {
    mkdirSync(join(path, 'lost+found'));
    put(`${SUPERBLOCK_NAME}.new`, 'cut sh');
    claimDisk(OURS, new LinuxDisk(path));
    claimDisk(OURS, new LinuxDisk(path));
  });

  it('files of others: named, a few of many, and how many', () => {
    mkdirSync(join(path, 'photos'));
    for (let index = 0; index < 8; index += 1) put(`photos/${index}.jpg`, 'x');
    const { code, finding } = refused();
    expect(code).to.equal('foreign-data');
    expect(finding.kind).to.equal('unknown-files');
    expect(finding.found).to.match(/^photos\/0.jpg, .*photos\/4.jpg, … \(8 in all\)$/);
  });

  it('a store of another cluster', () => {
    put(SUPERBLOCK_NAME, encodeSuperblock({ ...OURS, clusterId: 'cluster-2' }));
    const { finding } = refused();
    expect(finding).to.deep.equal({ kind: 'other-cluster', found: 'cluster cluster-2, disk d7' });
  });

  it('a store of another disk of this cluster: says which one', () => {
    put(SUPERBLOCK_NAME, encodeSuperblock({ ...OURS, diskId: 3, uuid: 'uuid-3' }));
    expect(refused().finding).to.deep.include({ kind: 'other-disk', disk: 3, uuid: 'uuid-3' });
    put(SUPERBLOCK_NAME, encodeSuperblock({ ...OURS, uuid: 'uuid-0' }));
    expect(refused().finding).to.deep.include({ kind: 'other-disk', disk: 7, uuid: 'uuid-0' });
  });

  it('a superblock of another program, damaged, or no superblock at all', () => {
    put(SUPERBLOCK_NAME, '{"magic":"other"}');
    expect(refused().finding.kind).to.equal('other-version');
    const text = Buffer.from(encodeSuperblock(OURS)).toString();
    put(SUPERBLOCK_NAME, text.replace('"format": 1', '"format": 99'));
    expect(refused().finding.kind, 'its checksum does not fit').to.equal('unreadable');
    put(SUPERBLOCK_NAME, 'no json');
    expect(refused()).to.deep.include({ code: 'corrupt' });
    expect(refused().finding.kind).to.equal('unreadable');
  });

  it('what we may not look into: unreadable; a disk that fails is no foreign data', () => {
    const failing = (code: string): Disk =>
      ({
        ...new LinuxDisk(path),
        path,
        exists: () => {
          throw new DiskError(code, `Looking for "superblock.json": ${code}`);
        },
      }) as unknown as Disk;
    const attempt = (code: string): unknown => {
      try {
        claimDisk(OURS, failing(code));
      } catch (error) {
        return foreignOf(error)?.kind ?? error;
      }
      return null;
    };
    expect(attempt('EACCES')).to.equal('unreadable');
    expect(attempt('EIO')).to.be.instanceOf(DiskError);
  });
});

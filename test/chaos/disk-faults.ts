/** What befalls a disk: it fills, its bytes rot, it turns read-only, it is gone. */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { StorageError } from '../../shared/base/errors.ts';
import type { Prng } from '../../shared/base/prng.ts';
import type { ChaosWorld } from './world.ts';

const BALLAST = 'chaos-ballast';
const MiB = 1024 ** 2;
const BLOCK_BYTES = 4096;
/** Blocks that rot at a time. */
const FLIPS_MAX = 8;

/** Disk 2 of a node is a small file system of its own: not a byte is left in it. */
export async function fillDisk(world: ChaosWorld, agent: string): Promise<void> {
  const path = join(world.diskDirectory(agent, 2), BALLAST);
  const fd = openSync(path, 'w');
  let bytes = 0;
  try {
    for (let size = MiB; size >= BLOCK_BYTES; size /= 2) {
      const chunk = Buffer.alloc(size, 0x5a);
      for (;;) {
        const written = writeSync(fd, chunk);
        bytes += written;
        if (written < size) break;
      }
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  } finally {
    closeSync(fd);
  }
  world.log(`  ${path}: ${Math.round(bytes / MiB)} MiB`);
}

export async function freeDisk(world: ChaosWorld, agent: string): Promise<void> {
  rmSync(join(world.diskDirectory(agent, 2), BALLAST), { force: true });
}

/** Single bits of blocks that hold data. */
export async function flipBytes(world: ChaosWorld, agent: string, random: Prng): Promise<void> {
  const slabs = ([1, 2] as const).flatMap((number) => {
    const folder = join(world.diskDirectory(agent, number), 'slabs');
    return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
  });
  if (slabs.length === 0) return;
  const path = random.pick(slabs);
  const fd = openSync(path, 'r+');
  try {
    const blocks = Math.floor(statSync(path).size / BLOCK_BYTES);
    const block = Buffer.alloc(BLOCK_BYTES);
    let flips = 0;
    for (let attempt = 0; attempt < 2_000 && flips < FLIPS_MAX; attempt += 1) {
      const at = random.below(blocks) * BLOCK_BYTES;
      readSync(fd, block, 0, BLOCK_BYTES, at);
      // Holes are zeros: nothing is lost there.
      if (block.every((byte) => byte === 0)) continue;
      const offset = random.below(BLOCK_BYTES);
      writeSync(fd, Buffer.of((block[offset] ?? 0) ^ (1 << random.below(8))), 0, 1, at + offset);
      flips += 1;
      world.log(`  ${path}: a bit at ${at + offset}`);
    }
  } finally {
    closeSync(fd);
  }
}

export function makeReadOnly(world: ChaosWorld, agent: string): void {
  chattr('+i', world.diskDirectory(agent, 1));
}

export function makeWritable(world: ChaosWorld, agent: string): void {
  chattr('-i', world.diskDirectory(agent, 1));
}

/** All that is on it goes; the process that has it open dies with its machine. */
export async function loseDisk(world: ChaosWorld, agent: string): Promise<void> {
  const directory = world.diskDirectory(agent, 1);
  for (const name of readdirSync(directory)) {
    rmSync(join(directory, name), { recursive: true, force: true });
  }
  await world.signalExecutor(agent, 'SIGKILL');
}

function chattr(flag: '+i' | '-i', directory: string): void {
  const result = spawnSync('chattr', ['-R', flag, directory], { encoding: 'utf8' });
  if (result.status !== 0) {
    throw new StorageError(
      'unavailable',
      `Command "chattr -R ${flag} ${directory}" ended with ${result.status}: ${result.stderr.trim()}`,
    );
  }
}

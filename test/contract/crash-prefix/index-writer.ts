/**
 * A process that does nothing but commit to an index, until it is killed. Every commit writes the next number
 * to all keys and deletes or makes some; each is said on standard output when it is done.
 */
import { LinuxIndex } from '../../../shared/node/linux-index.ts';
import type { IndexChange } from '../../../shared/ports.ts';
import { changesOf } from './index-changes.ts';

const [path, from] = process.argv.slice(2);
const index = new LinuxIndex(path ?? '');
let number = Number(from);

function commitNext(): void {
  number += 1;
  const changes: readonly IndexChange[] = changesOf(number);
  index.commit(changes, (failure) => {
    if (failure !== null) throw new Error(failure.message);
    process.stdout.write(`${number}\n`);
    commitNext();
  });
}

commitNext();

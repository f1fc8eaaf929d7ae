/**
 * A process that campaigns on a real store, leads and commits one small change after another: for tests
 * that stop or kill it. Arguments: service, path, session in ms, servers. It prints one JSON line for every
 * thing that happens; a commit counts as sent when `try` is out.
 */
import { describeError, StorageError } from '../../../shared/base/errors.ts';
import { openStore, SERVICES, type Servers } from './real-stores.ts';

/** Often enough that one is under way whenever the process is stopped. */
const PAUSE_MS = 5;

const [name, path = '', sessionMs, ...servers] = process.argv.slice(2);
const service = SERVICES.find((known) => known.name === name);
if (service === undefined) throw new Error(`No service "${name}"`);
const say = (line: Record<string, unknown>): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`);
};

const addresses = { servers, members: [] } as unknown as Servers;
const store = openStore(service, addresses, { path, sessionMs: Number(sessionMs) });
const { term, lost } = await store.campaign({ address: `http://process:${process.pid}` });
let isLost = false;
void lost.then((reason) => {
  isLost = true;
  say({ lost: reason });
});
let { revision } = await store.load();
say({ term, revision });
// After the loss it tries some more: that is what must not succeed.
for (let failures = 0; failures < 5; ) {
  const key = `${term}/${revision}`;
  say({ try: key });
  try {
    revision = await store.commit([{ key, value: 'x' }], revision);
    say({ done: key, isLost });
  } catch (error) {
    failures += 1;
    say({ refused: key, code: error instanceof StorageError ? error.code : describeError(error) });
  }
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}
await store.close();
say({ end: true });

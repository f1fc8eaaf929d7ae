/** The verifying client as a load of a chaos run. */
import { StorageError } from '../../shared/base/errors.ts';
import type { Load } from './load.ts';
import { VerifyingClient, type VerifyingClientOptions } from './verifying-client.ts';

export function createVerifyingLoad(options: VerifyingClientOptions): Load {
  const client = new VerifyingClient(options);
  return {
    name: `client of ${options.volume}`,
    async start() {
      client.start();
    },
    stop: () => client.stop(),
    relocate: () => client.relocate(),
    async verify() {
      const blocks = await client.verifyAll();
      const { errors } = client.figures;
      if (client.complaints.length > 0) {
        throw new StorageError('corrupt', client.complaints.join('; '));
      }
      // A fault within the budget is a pause, never an error.
      if (errors > 0) throw new StorageError('disk-failed', `${errors} requests failed`);
      return `${blocks} blocks right`;
    },
    async close() {
      client.close();
    },
    get figures() {
      return { ...client.figures };
    },
  };
}

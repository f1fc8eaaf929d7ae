import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import { LocalNetwork, routeNetwork } from '../../../shared/node/local-network.ts';
import { chooseReceiveMode, type ReceiveMode } from '../../../shared/node/socket-receive.ts';
import { TcpNetwork } from '../../../shared/node/tcp-network.ts';
import type { Connection, ConnectionHandlers, Network } from '../../../shared/ports.ts';
import { DataFrame, FLAG, OP, replyTo, STATUS } from '../../../shared/wire/data-protocol.ts';
import { SimulatedNetwork } from '../../simulation/ports/simulated-network.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';

interface Setting {
  readonly network: Network;
  readonly address: string;
  /** An address at which nobody listens. */
  readonly deadAddress: string;
  /** Lets things happen until the condition holds. */
  until(condition: () => boolean): Promise<void>;
}

const SETTINGS: Readonly<Record<string, () => Promise<Setting>>> = {
  'tcp onread': () => tcpSetting('onread'),
  'tcp data': () => tcpSetting('data'),
  local: async () => ({
    network: new LocalNetwork((action) => process.nextTick(action)),
    address: 'local:there',
    deadAddress: 'local:nobody',
    until: realUntil,
  }),
  simulated: async () => {
    const clock = new VirtualClock();
    const network = new SimulatedNetwork(clock, new Prng(1));
    return {
      network: network.host('a'),
      address: 'a:0',
      deadAddress: 'a:9',
      until: async (condition) => {
        for (let step = 0; step < 2000 && !condition(); step += 1) {
          await clock.runUntil(clock.now() + 5);
        }
        expect(condition(), 'the condition came about').to.equal(true);
      },
    };
  },
};

async function tcpSetting(mode: ReceiveMode): Promise<Setting> {
  const tcp = new TcpNetwork(mode);
  const local = new LocalNetwork((action) => process.nextTick(action));
  return {
    network: routeNetwork(local, tcp),
    address: '127.0.0.1:0',
    deadAddress: '127.0.0.1:1',
    until: realUntil,
  };
}

async function realUntil(condition: () => boolean): Promise<void> {
  for (let step = 0; step < 2000 && !condition(); step += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(condition(), 'the condition came about').to.equal(true);
}

/** Collects what one end hears; bodies are kept. */
class Ear implements ConnectionHandlers {
  readonly frames: DataFrame[] = [];
  readonly closes: string[] = [];
  onFrame(frame: DataFrame): void {
    const kept = Object.assign(new DataFrame(), frame);
    kept.takeBody();
    this.frames.push(kept);
  }
  onClose(reason: string): void {
    this.closes.push(reason);
  }
}

function write(requestId: number, blocks: number): DataFrame {
  const frame = new DataFrame();
  frame.op = OP.write;
  frame.requestId = requestId;
  frame.count = blocks;
  frame.checksums = new Uint8Array(blocks * 4).fill(requestId & 0xff);
  frame.data = new Uint8Array(blocks * 4096).fill((requestId * 3) & 0xff);
  return frame;
}

describe('network contract', () => {
  it('the receive mode: found out by trying', async () => {
    expect(await chooseReceiveMode()).to.equal('onread');
  });

  for (const [name, make] of Object.entries(SETTINGS)) {
    describe(name, () => {
      it('frames of all sizes both ways: whole, in order', async () => {
        const { network, address, until } = await make();
        const far = new Ear();
        let farEnd: Connection | null = null;
        const listener = await network.listen(address, (connection) => {
          farEnd = connection;
          return {
            onFrame: (frame) => {
              far.onFrame(frame);
              connection.send(replyTo(frame, STATUS.ok));
            },
            onClose: (reason) => far.onClose(reason),
          };
        });
        const near = new Ear();
        const connection = network.connect(listener.address, near);
        const sizes = [1, 16, 17, 1, 256, 1024, 1, 1, 3];
        for (let round = 0; round < 20; round += 1) {
          for (const [index, blocks] of sizes.entries()) {
            connection.send(write(round * 100 + index, blocks));
          }
        }
        expect(near.frames, 'nothing arrives inside send').to.have.length(0);
        await until(() => near.frames.length === 20 * sizes.length);
        const ids = far.frames.map((frame) => frame.requestId);
        expect(near.frames.map((frame) => frame.requestId)).to.deep.equal(ids);
        expect(ids).to.deep.equal([...ids].sort((left, right) => left - right));
        for (const frame of far.frames) {
          const expected = write(frame.requestId, frame.count);
          expect(Buffer.compare(frame.data as Uint8Array, expected.data as Uint8Array)).to.equal(0);
          expect(frame.checksums).to.deep.equal(expected.checksums);
        }
        expect(near.frames.every((frame) => (frame.flags & FLAG.reply) !== 0)).to.equal(true);
        expect(farEnd).to.not.equal(null);
        connection.close('done');
        await until(() => near.closes.length === 1 && far.closes.length === 1);
        expect(near.closes).to.deep.equal(['done']);
        listener.close();
      });

      it('nobody listens: onClose once, later', async () => {
        const { network, deadAddress, until } = await make();
        const ear = new Ear();
        const connection = network.connect(deadAddress, ear);
        expect(ear.closes).to.have.length(0);
        connection.send(write(1, 1));
        await until(() => ear.closes.length > 0);
        connection.close('again');
        connection.send(write(2, 1));
        await until(() => true);
        expect(ear.closes).to.have.length(1);
      });

      it('the listener closes: both ends hear it once, and its address is free again', async () => {
        const { network, address, until } = await make();
        const far = new Ear();
        const listener = await network.listen(address, () => far);
        const near = new Ear();
        const connection = network.connect(listener.address, near);
        connection.send(write(1, 1));
        await until(() => far.frames.length === 1);
        listener.close();
        await until(() => near.closes.length === 1 && far.closes.length === 1);
        const again = await network.listen(listener.address, () => new Ear());
        again.close();
      });

      it('close inside a handler: no further frame of that end', async () => {
        const { network, address, until } = await make();
        const closes: string[] = [];
        let frames = 0;
        const listener = await network.listen(address, (connection) => ({
          onFrame: () => {
            frames += 1;
            connection.close('enough');
          },
          onClose: (reason) => closes.push(reason),
        }));
        const near = new Ear();
        const connection = network.connect(listener.address, near);
        connection.send(write(1, 1));
        connection.send(write(2, 1));
        await until(() => closes.length === 1 && near.closes.length === 1);
        expect(frames).to.equal(1);
        expect(closes).to.deep.equal(['enough']);
        listener.close();
      });

      it('an address in use: listen rejects', async () => {
        const { network, address } = await make();
        const listener = await network.listen(address, () => new Ear());
        let message = '';
        try {
          await network.listen(listener.address, () => new Ear());
        } catch (error) {
          message = String(error);
        }
        expect(message).to.contain('StorageError');
        listener.close();
      });
    });
  }

  it('tcp: a stranger that does not speak the protocol, closed with a reason', async () => {
    const { connect } = await import('node:net');
    const { network, address, until } = await tcpSetting('onread');
    const far = new Ear();
    const listener = await network.listen(address, () => far);
    const port = Number(listener.address.split(':')[1]);
    const stranger = connect({ host: '127.0.0.1', port });
    stranger.on('error', () => undefined);
    stranger.write(`GET / HTTP/1.1\r\nHost: nobody\r\n\r\n${'x'.repeat(100)}`);
    await until(() => far.closes.length === 1);
    expect(far.closes[0]).to.contain('magic');
    stranger.destroy();
    listener.close();
  });

  it('tcp: an address that is none, onClose and no exception', async () => {
    const { network, until } = await tcpSetting('onread');
    const ear = new Ear();
    network.connect('nonsense', ear);
    await until(() => ear.closes.length === 1);
    expect(ear.closes[0]).to.contain('nonsense');
  });

  it('tcp: a peer that does not read, visible in queuedBytes', async () => {
    const { createServer } = await import('node:net');
    const { network, until } = await tcpSetting('onread');
    const server = createServer({ pauseOnConnect: true });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const bound = server.address();
    const port = bound !== null && typeof bound === 'object' ? bound.port : 0;
    const ear = new Ear();
    const connection = network.connect(`127.0.0.1:${port}`, ear);
    for (let index = 0; index < 64; index += 1) connection.send(write(index, 256));
    await until(() => connection.queuedBytes > 1024 * 1024);
    connection.close('done');
    await until(() => ear.closes.length === 1);
    server.close();
  });
});

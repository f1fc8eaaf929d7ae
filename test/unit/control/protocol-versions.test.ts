/** A scheduler and executors of different versions: who works together, and how it is said when not. */
import { join } from 'node:path';
import { expect } from 'chai';
import { step } from '../../../scheduler/core/step.ts';
import {
  CONTROL_PROTOCOL,
  CONTROL_PROTOCOL_OLDEST,
  type NodeHello,
} from '../../../shared/model/node-report.ts';
import { loadControlCodec } from '../../../shared/node/control-codec.ts';
import { PROJECT_ROOT } from '../../tidy/source-tree.ts';
import { ModelAgent, usualResources } from '../offers/agent-model.ts';
import { Scenario } from '../offers/scenario.ts';

const codec = loadControlCodec(join(PROJECT_ROOT, 'proto'));

/** The hello of an executor of the version before, byte for byte: it did not name its protocol yet. */
const RECORDED_BEFORE = Buffer.from(
  '0a740a2431663265336434632d356236612d343738392d386162632d646566303132333435363738120a6167656e742d612d53301a106369737465726e2d6e312d302e312e302201612a0269313205302e312e303a0d31302e302e302e313a37303030420d31302e302e302e313a3730303148035001',
  'hex',
);

function recordedHello(): NodeHello {
  const message = codec.decodeNodeMessage(RECORDED_BEFORE);
  if (message.kind !== 'hello') throw new Error(`decoded as ${message.kind}`);
  return message.hello;
}

/** What a manager whose cluster has that node answers. */
function answer(hello: NodeHello): { readonly kind: string; readonly reason: string } {
  const { state, now } = new Scenario([new ModelAgent('a', usualResources())]).ready().bringUp();
  state.facts.updateCluster({ mapVersion: 3 });
  const [effect] = step(state, { kind: 'node-hello', session: 's1', hello }, now);
  return { kind: effect?.kind ?? '', reason: effect?.kind === 'refuse' ? effect.reason : '' };
}

describe('control protocol: versions', () => {
  it('the recorded hello of the version before: understood, and welcomed', () => {
    const hello = recordedHello();
    expect(hello.protocol).to.equal(undefined);
    expect(hello.executorId).to.equal('cistern-n1-0.1.0');
    expect(answer(hello)).to.deep.equal({ kind: 'welcome', reason: '' });
    expect(CONTROL_PROTOCOL_OLDEST).to.be.at.most(CONTROL_PROTOCOL - 1);
  });

  it('the own version: goes over the wire as it is', () => {
    const hello = { ...recordedHello(), protocol: 2, oldestProtocol: 1 };
    const decoded = codec.decodeNodeMessage(codec.encodeNodeMessage({ kind: 'hello', hello }));
    expect(decoded).to.deep.equal({ kind: 'hello', hello });
    expect(answer(hello).kind).to.equal('welcome');
  });

  it('an executor that still understands us, though it is newer: welcomed', () => {
    const hello = { ...recordedHello(), protocol: 9, oldestProtocol: CONTROL_PROTOCOL };
    expect(answer(hello).kind).to.equal('welcome');
  });

  it('too new: refused with both ranges and what to do', () => {
    const hello = { ...recordedHello(), protocol: 9, oldestProtocol: CONTROL_PROTOCOL + 1 };
    const { kind, reason } = answer(hello);
    expect(kind).to.equal('refuse');
    expect(reason).to.match(
      /control protocol 3 to 9, this scheduler 1 to 2: the scheduler is too old/,
    );
  });

  it('too old: refused with what to do', () => {
    const { kind, reason } = answer({ ...recordedHello(), protocol: 0, oldestProtocol: 0 });
    expect(kind).to.equal('refuse');
    expect(reason).to.match(/it is too old; upgrade with the scheduler version between/);
  });
});

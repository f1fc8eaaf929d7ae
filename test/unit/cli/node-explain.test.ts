import { expect } from 'chai';
import picocolors from 'picocolors';
import { renderAgent } from '../../../cli/node-explain.ts';
import type { AgentView } from '../../../shared/model/agent-view.ts';

const NOW_MS = Date.parse('2026-11-20T03:12:27Z');

const AGENT: AgentView = {
  id: 'f00d-S7',
  hostname: 'agent7.example',
  node: null,
  zone: 'z1',
  region: null,
  attributes: { rack: 'r7' },
  lastOfferAt: '2026-11-20T03:12:07Z',
  answer: 'declined',
  summary: 'None of 1 free disks was taken: it is 10 MiB, less than a store needs',
  reason: null,
  disks: [
    {
      kind: 'mount',
      root: '/mnt/a',
      sizeBytes: 10 * 1024 * 1024,
      owner: 'free',
      disk: null,
      reasons: [
        { kind: 'size', pool: null, message: 'it is 10 MiB, less than a store needs' },
        { kind: 'tier', pool: 'fast', message: 'pool "fast" wants nvme' },
      ],
    },
    { kind: 'path', root: '/mnt/b', sizeBytes: 1024, owner: 'ours', disk: 'd4', reasons: [] },
  ],
  earlier: [{ at: '2026-11-20T03:10:07Z', answer: 'accepted', why: 'Our own resources were used' }],
};

const render = (agent: AgentView): string =>
  renderAgent(agent, NOW_MS, picocolors.createColors(false));

describe('cli: node explain', () => {
  it('node explain: whose each disk is, every reason, and the offers before', () => {
    const text = render(AGENT);
    expect(text).to.match(/Node +none of ours runs there/);
    expect(text).to.match(/Last offer +20s ago, declined/);
    expect(text).to.match(
      /Before +2m 20s ago, accepted: Our own resources were used|Before +2m ago/,
    );
    expect(text).to.match(/mount \/mnt\/a .*free.*less than a store needs; pool "fast" wants nvme/);
    expect(text).to.match(/path \/mnt\/b .*d4/);
  });

  it('node explain: an agent that offered nothing, why', () => {
    const silent = {
      ...AGENT,
      node: 'n3',
      lastOfferAt: null,
      answer: null,
      disks: [],
      earlier: [],
    };
    const text = render({
      ...silent,
      summary: 'It has offered nothing since this manager began: x',
    });
    expect(text).to.match(/Last offer +never/);
    expect(text).to.match(/In short +It has offered nothing/);
  });
});

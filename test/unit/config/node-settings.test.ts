/** The executor's own settings: by which address the other nodes reach it. */
import { expect } from 'chai';
import { readNodeSettings } from '../../../executor/environment.ts';

describe('node settings', () => {
  for (const [what, variables, host] of [
    ['the address of libprocess', { LIBPROCESS_IP: '10.0.0.3' }, '10.0.0.3'],
    [
      'an agent that listens everywhere: that of its endpoint',
      { LIBPROCESS_IP: '0.0.0.0', MESOS_AGENT_ENDPOINT: '10.0.0.4:5051' },
      '10.0.0.4',
    ],
    ['the operator has the last word', { LIBPROCESS_IP: '10.0.0.3', CISTERN_NODE_HOST: 'h' }, 'h'],
  ] as const) {
    it(`host: ${what}`, () => {
      expect(readNodeSettings(variables).host).to.equal(host);
    });
  }

  it('host: none that others could reach, refused with the setting that helps', () => {
    const everywhere = { LIBPROCESS_IP: '0.0.0.0', MESOS_AGENT_ENDPOINT: '0.0.0.0:5051' };
    expect(() => readNodeSettings(everywhere)).to.throw(/CISTERN_NODE_HOST/);
  });
});

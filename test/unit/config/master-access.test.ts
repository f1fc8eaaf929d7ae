/** Settings and files of the access to the master: what is read, and refusals that show no secret. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { readConfig } from '../../../scheduler/config.ts';
import { parseHeaders } from '../../../scheduler/mesos/access.ts';
import { StorageError } from '../../../shared/base/errors.ts';

describe('master access', () => {
  const directory = mkdtempSync(join(tmpdir(), 'master-access-'));
  after(() => rmSync(directory, { recursive: true, force: true }));

  function file(name: string, text: string): string {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  }

  function refusal(environment: Record<string, string>): string {
    try {
      readConfig([], environment);
    } catch (error) {
      expect(error).to.be.instanceOf(StorageError);
      return (error as StorageError).message;
    }
    throw new Error('Nothing was refused');
  }

  it('credential file: principal of the framework and Basic authentication', () => {
    const path = file('credential.json', '{"principal": "storage", "secret": "s3cret"}');
    const config = readConfig(['--credential-file', path], {});
    expect(config.principal).to.equal('storage');
    expect(config.access.authorization).to.deep.equal({
      kind: 'basic',
      principal: 'storage',
      secret: 's3cret',
    });
  });

  it('secret file: the principal of the settings', () => {
    const path = file('secret', 's3cret\n');
    const config = readConfig([], { CISTERN_SECRET_FILE: path, CISTERN_PRINCIPAL: 'p' });
    expect(config.access.authorization).to.deep.equal({
      kind: 'basic',
      principal: 'p',
      secret: 's3cret',
    });
  });

  it('refused: another principal than that of the file', () => {
    const path = file('two-lines', 'storage\ns3cret\n');
    const message = refusal({ CISTERN_CREDENTIAL_FILE: path, CISTERN_PRINCIPAL: 'other' });
    expect(message).to.match(/"other".*"storage"/);
  });

  for (const [what, text] of [
    ['one line', 's3cret'],
    ['three lines', 'storage\ns3cret\nx'],
    ['no JSON', '{"principal": "storage", "secret": "s3cret"'],
    ['two credentials', '{"credentials": [{"principal":"a","secret":"s3cret"},{}]}'],
    ['a secret with a colon, which Mesos cannot match', 'storage\ns3cret:x'],
  ] as const) {
    it(`refused: a credential file with ${what}, and no secret is shown`, () => {
      const message = refusal({ CISTERN_CREDENTIAL_FILE: file('bad', text) });
      expect(message).to.match(/--credential-file/);
      expect(message).to.not.include('s3cret');
    });
  }

  it('refused: two ways at once, a certificate without its key, a file that is not there', () => {
    const path = file('secret', 's3cret');
    expect(refusal({ CISTERN_SECRET_FILE: path, CISTERN_AUTH_COMMAND: 'true' })).to.match(/one of/);
    expect(refusal({ CISTERN_MASTER_CERT_FILE: path })).to.match(/both, or none/);
    expect(refusal({ CISTERN_MASTER_CA_FILE: join(directory, 'none') })).to.match(/no such file/i);
  });

  it('headers of a command: lines or JSON; refused are ours, and what would break a request', () => {
    const expected = { authorization: 'token=a:b' };
    expect(parseHeaders('Authorization: token=a:b\n')).to.deep.equal(expected);
    expect(parseHeaders('{"Authorization": "token=a:b"}')).to.deep.equal(expected);
    for (const bad of ['', 'no header', '{', '{}', '{"a": 1}', '{"a": "b\\nc"}', 'Host: x']) {
      expect(() => parseHeaders(bad), bad).to.throw(StorageError, /cannot be had/);
    }
  });
});

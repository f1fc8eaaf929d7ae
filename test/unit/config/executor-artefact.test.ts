/** How agents start our executor: what Mesos' fetcher brought is checked before any of it runs. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { readConfig } from '../../../scheduler/config.ts';
import { executorArtefact } from '../../../scheduler/executor-artefact.ts';

describe('executor artefact', () => {
  const directory = mkdtempSync(join(tmpdir(), 'artefact-'));
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('packed: nothing runs unless its checksum is right', () => {
    const sandbox = join(directory, 'cistern-executor');
    execFileSync('mkdir', ['-p', sandbox, join(directory, 'cistern-node', 'bin')]);
    writeFileSync(join(sandbox, 'executor.mjs'), '');
    const runtime = '#!/bin/sh\necho ran\n';
    writeFileSync(join(directory, 'cistern-node', 'bin', 'node'), runtime, { mode: 0o755 });
    for (const name of ['executor', 'node']) {
      const options = { cwd: directory };
      execFileSync('tar', ['czf', `${name}.tar.gz`, `cistern-${name}`], options);
    }
    const named = (file: string) => ({
      file,
      sha256: createHash('sha256')
        .update(readFileSync(join(directory, file)))
        .digest('hex'),
    });
    const manifest = {
      version: '1',
      ...named('executor.tar.gz'),
      runtime: named('node.tar.gz'),
    };
    writeFileSync(join(directory, 'manifest.json'), JSON.stringify(manifest));
    const config = readConfig(['--artefact-dir', directory], {});
    const { command, uris } = executorArtefact(config, 'http://scheduler:7400', '1');
    expect(uris.map(({ value }) => value)).to.deep.equal([
      'http://scheduler:7400/executor/executor.tar.gz',
      'http://scheduler:7400/executor/node.tar.gz',
    ]);
    const run = () => spawnSync('sh', ['-c', command], { cwd: directory, encoding: 'utf8' });
    expect(run().stdout).to.include('ran');
    for (const file of ['executor.tar.gz', 'node.tar.gz']) {
      const whole = readFileSync(join(directory, file));
      writeFileSync(join(directory, file), Buffer.concat([whole, Buffer.from('x')]));
      const { stdout, status } = run();
      expect(stdout, file).to.not.include('ran');
      expect(status, file).to.not.equal(0);
      writeFileSync(join(directory, file), whole);
    }
  });
});

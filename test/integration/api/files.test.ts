/** Files over HTTP: the dashboard with its security headers, artefacts, and nothing outside of them. */

import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { ErrorView } from '../../../shared/model/api-views.ts';
import type { ApiFixture } from '../../fixture/api-fixture.ts';
import { startFixture } from '../../fixture/api-fixture.ts';
import { SMALL } from '../../fixture/cluster-views.ts';

describe('api: files', () => {
  let folder: string;
  let api: ApiFixture;
  const content = Buffer.alloc(300_000, 'executor');

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'cistern-files-'));
    const dashboardDirectory = join(folder, 'dashboard');
    const artefactDirectory = join(folder, 'artefacts');
    mkdirSync(dashboardDirectory);
    mkdirSync(join(artefactDirectory, 'inner'), { recursive: true });
    writeFileSync(join(dashboardDirectory, 'index.html'), '<!doctype html><title>x</title>');
    writeFileSync(join(dashboardDirectory, 'app.js'), 'export {};');
    writeFileSync(join(artefactDirectory, 'executor-1.tar.gz'), content);
    writeFileSync(join(artefactDirectory, '.hidden'), 'hidden');
    writeFileSync(join(artefactDirectory, 'inner', 'deep'), 'deep');
    writeFileSync(join(folder, 'secret'), 'secret');
    symlinkSync(join(folder, 'secret'), join(artefactDirectory, 'link'));
    api = await startFixture(SMALL, { dashboardDirectory, artefactDirectory });
  });
  after(async () => {
    await api.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** `fetch` would tidy the path up; this sends it as it is. */
  function getRaw(path: string): Promise<{ status: number | undefined; body: string }> {
    return new Promise((resolve, reject) => {
      const call = request({ host: '127.0.0.1', port: api.server.port, path }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => {
          body += part;
        });
        response.on('end', () => resolve({ status: response.statusCode, body }));
      });
      call.on('error', reject);
      call.end();
    });
  }

  it('dashboard: the page with a strict policy, unchanged files are not sent again', async () => {
    const page = await fetch(`${api.url}/`);
    expect(page.status).to.equal(200);
    expect(page.headers.get('content-type')).to.match(/^text\/html/);
    const policy = page.headers.get('content-security-policy') ?? '';
    expect(policy).to.include("default-src 'none'");
    expect(policy).not.to.include('unsafe');
    const again = await fetch(`${api.url}/`, {
      headers: { 'if-none-match': page.headers.get('etag') ?? '' },
    });
    expect(again.status).to.equal(304);
    expect((await fetch(`${api.url}/app.js`)).headers.get('content-type')).to.match(/javascript/);
  });

  it('artefact: whole, with its length and digest; HEAD without the content', async () => {
    const response = await fetch(`${api.url}/executor/executor-1.tar.gz`);
    expect(response.status).to.equal(200);
    expect(response.headers.get('content-length')).to.equal(String(content.length));
    const digest = createHash('sha256').update(content).digest('hex');
    expect(response.headers.get('x-content-sha256')).to.equal(digest);
    expect(Buffer.from(await response.arrayBuffer()).equals(content)).to.equal(true);
    const head = await fetch(`${api.url}/executor/executor-1.tar.gz`, { method: 'HEAD' });
    expect(head.headers.get('content-length')).to.equal(String(content.length));
    expect(await head.text()).to.equal('');
  });

  it('artefact: replaced, the new digest', async () => {
    const path = join(folder, 'artefacts', 'changing');
    for (const text of ['one', 'another']) {
      writeFileSync(path, text);
      const response = await fetch(`${api.url}/executor/changing`);
      expect(await response.text()).to.equal(text);
      const digest = createHash('sha256').update(text).digest('hex');
      expect(response.headers.get('x-content-sha256')).to.equal(digest);
    }
  });

  for (const path of [
    '/executor/../secret',
    '/executor/..%2fsecret',
    '/executor/%2e%2e/secret',
    '/executor/%2e%2e%2fsecret',
    '/executor/..%5csecret',
    '/executor/.hidden',
    '/executor/link',
    '/executor/inner',
    '/executor/inner/deep',
    '/executor/inner%2fdeep',
    '/executor/executor-1.tar.gz%00',
    '/executor/',
    '/../secret',
    '/..%2fartefacts%2fexecutor-1.tar.gz',
  ]) {
    it(`outside: ${path} is not there`, async () => {
      const { status, body } = await getRaw(path);
      expect(status).to.be.oneOf([400, 404]);
      expect((JSON.parse(body) as ErrorView).code).to.be.oneOf(['not-found', 'invalid-argument']);
      expect(body).not.to.equal('secret');
    });
  }

  it('dashboard: not built, a clear refusal to start', async () => {
    let message = '';
    try {
      await startFixture(SMALL, { dashboardDirectory: join(folder, 'artefacts') });
    } catch (error) {
      message = String(error);
    }
    expect(message).to.include('index.html');
    expect(message).to.include('npm run build');
  });
});

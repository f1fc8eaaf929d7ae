/** The dashboard in a real browser over a real API: what it shows, that it lives, that it survives. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { type Browser, chromium, type Page } from 'playwright-core';
import { parseNode } from '../../../shared/base/ids.ts';
import { type ApiFixture, startFixture } from '../../fixture/api-fixture.ts';
import { type ClusterShape, LARGE, QUIET, SMALL } from '../../fixture/cluster-views.ts';

const CHROMIUM = process.env['CISTERN_CHROMIUM'] ?? '/usr/bin/chromium';
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
/** For a browser on a busy machine; everything polls. */
const PATIENCE_MS = 60_000;

describe('dashboard', function () {
  this.timeout(180_000);
  let folder: string;
  let browser: Browser;
  let api: ApiFixture;
  let page: Page;
  let complaints: string[];

  before(async function () {
    if (!existsSync(CHROMIUM)) this.skip();
    folder = mkdtempSync(join(tmpdir(), 'cistern-dashboard-'));
    const script = join(projectRoot(), 'scripts/build-dashboard.mjs');
    const built = spawnSync(process.execPath, [script, '--out', join(folder, 'page')]);
    expect(built.status, built.stderr.toString()).to.equal(0);
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
  });
  after(async () => {
    await browser?.close();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });
  afterEach(async () => {
    await page?.close();
    await api?.close();
  });

  async function open(shape: ClusterShape, look: Parameters<Browser['newPage']>[0] = {}) {
    api = await startFixture(shape, { dashboardDirectory: join(folder, 'page') });
    page = await browser.newPage({ viewport: { width: 1440, height: 900 }, ...look });
    page.setDefaultTimeout(PATIENCE_MS);
    complaints = [];
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('request', (request) => {
      const url = request.url();
      if (!url.startsWith(api.url) && !url.startsWith('data:')) complaints.push(`asks ${url}`);
    });
    await page.goto(api.url);
    await page.waitForSelector('.panels');
  }

  // biome-ignore lint/performance/useDomNodeTextContent: what a person sees is what counts here
  const text = (selector: string) => page.innerText(selector);

  async function untilText(selector: string, wanted: RegExp): Promise<void> {
    await until(async () => wanted.test(await text(selector)), `${selector} says ${wanted}`);
  }

  it('a small cluster: all parts, nothing from elsewhere, no complaint of the browser', async () => {
    await open(SMALL);
    expect(await text('#health')).to.equal('ok');
    expect(await page.title()).to.equal('fixture – Cistern');
    expect(await text('.panel-health')).to.include('Nothing to do');
    expect(await text('#used-ratio')).to.equal('48 %');
    expect(await text('.panel-capacity')).to.match(/Reserve for rebuilding\s+288 GiB/);
    expect(await text('.panel-capacity')).to.match(/expand 80 %[\s\S]*full 95 %/);
    expect(await text('.panel-pgs')).to.match(/100 %\s+of 32 placement groups/);
    expect(await page.locator('.tile').count()).to.equal(3);
    expect(await page.locator('.disk').count()).to.equal(3);
    expect(await page.locator('[data-volume]').count()).to.equal(2);
    expect(await page.locator('.event').count()).to.equal(3);
    expect(await text('.panel-jobs')).to.include('none running');
    expect(complaints).to.deep.equal([]);
  });

  it('live: events, figures, trouble and jobs appear by themselves', async () => {
    await open(SMALL);
    const { manager } = api;
    manager.addEvent({ severity: 'warning', kind: 'x', message: 'Something new', subject: 'n1' });
    await untilText('.events', /^.*Something new/s);
    manager.setIo('v1', { ...QUIET, readOpsPerSecond: 4321, readLatencyMs: 2.5 });
    await untilText('[data-volume=db]', /4,321/);
    await manager.execute({ kind: 'drain-node', node: present(manager, 'n3') });
    await untilText('.panel-jobs', /drain n3/);
    manager.progress('j2', 0.4);
    await untilText('[data-job=j2]', /40 %/);
    manager.contents.nodes = manager.contents.nodes.map((node) =>
      node.id === 'n2' ? { ...node, state: 'down' as const } : node,
    );
    manager.touch();
    await untilText('#health', /^degraded$/);
    await untilText('.panel-health', /Node n2 .* is down[\s\S]*made again elsewhere/);
    expect(await page.title()).to.equal('(degraded) fixture – Cistern');
    expect(await page.locator('.tile').first().getAttribute('data-node')).to.equal('n2');
    await page.click('.reasons .why');
    await untilText(
      '.explanation',
      /because Mesos says that its agent is away[\s\S]*Nothing, wait/,
    );
    expect(complaints).to.deep.equal([]);
  });

  for (const scheme of ['light', 'dark'] as const) {
    for (const width of [1440, 900, 400]) {
      it(`300 disks: ${scheme}, ${width} wide, nothing hangs over`, async () => {
        await open(LARGE, { colorScheme: scheme, viewport: { width, height: 900 } });
        expect(await page.locator('.tile').count()).to.equal(50);
        expect(await page.locator('.disk').count()).to.equal(300);
        expect(await page.locator('.disk-bad').count()).to.equal(7);
        expect(await page.locator('.reasons li').count()).to.equal(2);
        expect(await text('[data-job=j2]')).to.match(/40 %[\s\S]*38m 24s left/);
        const overhang = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
        expect(overhang).to.be.at.most(0);
        const ground = await page.evaluate('getComputedStyle(document.body).backgroundColor');
        const isDark = /\((\d+)/.exec(String(ground));
        expect(Number(isDark?.[1]) < 128).to.equal(scheme === 'dark');
        expect(complaints).to.deep.equal([]);
      });
    }
  }

  it('keyboard: a node opens with Enter and closes with Escape; volumes are found by name', async () => {
    await open(LARGE);
    await page.focus('[data-node=n1]');
    await page.keyboard.press('Enter');
    await untilText('.detail', /d5\s+failed/);
    expect(await page.getAttribute('[data-node=n1]', 'aria-expanded')).to.equal('true');
    await page.keyboard.press('Escape');
    await until(async () => (await page.locator('.detail').count()) === 0, 'the detail closes');
    expect(await page.locator('[data-volume]').count()).to.equal(10);
    await page.fill('.search', 'kafka');
    await until(async () => (await page.locator('[data-volume]').count()) === 5, 'kafka is found');
  });

  it('without eyes: every picture, button and section has a name', async () => {
    await open(LARGE);
    const nameless =
      await page.evaluate(`[...document.querySelectorAll('[role=img], button, input, section, [role=log]')]
      .filter((element) => !(element.getAttribute('aria-label') || element.getAttribute('aria-labelledby') || element.textContent.trim()))
      .map((element) => element.outerHTML.slice(0, 100))`);
    expect(nameless).to.deep.equal([]);
    expect(await page.getAttribute('.panel-capacity .bar', 'aria-label')).to.match(/used.*free/);
    expect(await page.getAttribute('[data-node=n2]', 'aria-label')).to.match(
      /Node n2 on agent-2.example: down, 6 disks, \d+ % full, 6 disks not serving/,
    );
    expect(await page.getAttribute('.panel-io .spark', 'aria-label')).to.match(
      /now read .*highest/,
    );
    expect(await page.locator('html').getAttribute('lang')).to.equal('en');
  });

  it('the scheduler goes away and comes back: stale is said, then live again', async () => {
    await open(SMALL);
    await untilText('#connection', /^live$/);
    const { port } = api.server;
    await api.close();
    await untilText('#connection', /stale/);
    expect(await text('#stale')).to.match(/shows the past[\s\S]*cannot be reached/);
    api = await startFixture(LARGE, { dashboardDirectory: join(folder, 'page'), port });
    await untilText('#connection', /^live$/);
    expect(await page.locator('#stale').count()).to.equal(0);
    await untilText('#health', /degraded/);
  });

  it('another scheduler leads: the page says so, and goes on when it leads', async () => {
    await open(SMALL);
    api.manager.setLeadership({ isLeading: false, reason: 'another one was elected' });
    await untilText('#connection', /stale/);
    await untilText('#stale', /another one was elected/);
    api.manager.setLeadership({ isLeading: true, reason: '' });
    await untilText('#connection', /^live$/);
  });
});

/** The id of a node that the fixture has. */
function present(manager: ApiFixture['manager'], id: string) {
  const parsed = parseNode(id);
  if (parsed === null || manager.node(parsed) === null) throw new Error(`No node ${id}`);
  return parsed;
}

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await condition().catch(() => false))) {
    if (performance.now() > deadline) throw new Error(`Not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function projectRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'scripts/build-dashboard.mjs'))) folder = dirname(folder);
  return folder;
}

/**
 * `npm run store-soak -- zookeeper|etcd SECONDS`: three candidates on a real three-member service, while
 * candidates and members are killed and stopped at random. Judged by what the candidates said: every
 * commit that was done is there, nothing is there that nobody tried, no term was led twice, and the
 * revision counts the commits. Not part of `npm test`: it is as long as one likes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { freshPath, openStore, SERVICES, type Servers, type Service } from './real-stores.ts';

const SESSION_MS = 4_000;
const CANDIDATES = 3;
const SCRIPT = fileURLToPath(new URL('./candidate-process.js', import.meta.url));

interface Candidate {
  readonly child: ChildProcess;
  /** 0 while it waits. */
  term: number;
}

class Soak {
  readonly #service: Service;
  readonly #servers: Servers;
  readonly #path = freshPath();
  readonly #startedAt = Date.now();
  readonly #candidates = new Set<Candidate>();
  readonly #tried = new Set<string>();
  readonly #done = new Set<string>();
  readonly #terms = new Set<number>();
  readonly #complaints: string[] = [];
  #isOver = false;

  constructor(service: Service, servers: Servers) {
    this.#service = service;
    this.#servers = servers;
  }

  async run(seconds: number): Promise<readonly string[]> {
    for (let index = 0; index < CANDIDATES; index += 1) this.#start();
    while (Date.now() - this.#startedAt < seconds * 1000) {
      await sleep(2_500 + below(3_000));
      await this.#disturb();
    }
    this.#isOver = true;
    for (const { child } of this.#candidates) {
      child.kill('SIGCONT');
      child.kill('SIGKILL');
    }
    await this.#judge();
    return this.#complaints;
  }

  #say(text: string): void {
    console.log(`${((Date.now() - this.#startedAt) / 1000).toFixed(1)} s  ${text}`);
  }

  #start(): void {
    const args = [this.#service.name, this.#path, String(SESSION_MS), ...this.#servers.servers];
    const child = spawn(process.execPath, [SCRIPT, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const candidate: Candidate = { child, term: 0 };
    this.#candidates.add(candidate);
    createInterface({ input: child.stdout }).on('line', (line) =>
      this.#hear(candidate, JSON.parse(line)),
    );
    child.once('exit', () => {
      this.#candidates.delete(candidate);
      if (!this.#isOver) this.#start();
    });
  }

  #hear(candidate: Candidate, said: Readonly<Record<string, unknown>>): void {
    const { term, try: tried, done, lost } = said;
    if (typeof term === 'number') {
      if (this.#terms.has(term)) this.#complaints.push(`term ${term} was led twice`);
      this.#terms.add(term);
      candidate.term = term;
      this.#say(`term ${term} leads from revision ${String(said['revision'])}`);
    }
    if (typeof tried === 'string') this.#tried.add(tried);
    if (typeof done === 'string') {
      if (this.#done.has(done)) this.#complaints.push(`commit ${done} was done twice`);
      this.#done.add(done);
    }
    if (typeof lost === 'string') this.#say(`term ${candidate.term} is lost: ${lost}`);
  }

  async #disturb(): Promise<void> {
    const leading = [...this.#candidates].sort((a, b) => b.term - a.term)[0];
    const { members } = this.#servers;
    const member = members[below(members.length)];
    if (leading === undefined || member === undefined) return;
    const ms = [500, 3_000, 6_000][below(3)] ?? 0;
    switch (below(5)) {
      case 0:
        this.#say(`kill the leader of term ${leading.term}`);
        leading.child.kill('SIGKILL');
        break;
      case 1:
        this.#say(`stop the leader of term ${leading.term} for ${ms} ms`);
        leading.child.kill('SIGSTOP');
        setTimeout(() => leading.child.kill('SIGCONT'), ms);
        break;
      case 2:
        this.#say(`stop a member for ${ms} ms`);
        member.stop();
        await sleep(ms);
        member.goOn();
        break;
      case 3:
        await this.#restart(member, 'a member');
        break;
      default:
        // Between two leaders nobody can be told.
        await this.#restart(await this.#servers.leader().catch(() => member), 'the leading member');
    }
  }

  async #restart(member: Servers['members'][number], what: string): Promise<void> {
    this.#say(`kill ${what}`);
    await member.kill();
    await sleep(1_500);
    member.start();
    await this.#servers.ready();
  }

  async #judge(): Promise<void> {
    const options = { path: this.#path, sessionMs: SESSION_MS };
    const store = openStore(this.#service, this.#servers, options);
    await store.campaign({ address: 'http://judge:1' });
    const { revision, entries } = await store.load();
    const keys = new Set(entries.map(({ key }) => key));
    for (const key of this.#done) if (!keys.has(key)) this.#complaints.push(`${key} is lost`);
    for (const key of keys) {
      if (!this.#tried.has(key)) this.#complaints.push(`${key} was never tried`);
    }
    if (revision !== keys.size) {
      this.#complaints.push(`revision ${revision} with ${keys.size} commits`);
    }
    this.#say(
      `revision ${revision}, ${this.#done.size} commits done, ${this.#tried.size} tried, ${this.#terms.size} terms`,
    );
    await store.close();
  }
}

function below(limit: number): number {
  return Math.floor(Math.random() * limit);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const [name = 'zookeeper', seconds = '60'] = process.argv.slice(2);
const service = SERVICES.find((known) => known.name === name);
if (service === undefined || !(Number(seconds) > 0)) {
  console.error('Usage: npm run store-soak -- zookeeper|etcd SECONDS');
  process.exit(2);
}
const servers = await service.start(3);
let complaints: readonly string[] = ['it ended early'];
try {
  complaints = await new Soak(service, servers).run(Number(seconds));
} finally {
  await servers.close();
}
for (const complaint of complaints) console.log(`✖ ${complaint}`);
console.log(complaints.length === 0 ? 'ok' : `${complaints.length} complaints`);
process.exit(complaints.length === 0 ? 0 : 1);

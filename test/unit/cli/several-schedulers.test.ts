/** The client with several schedulers: it finds one that answers, follows the leader, and waits for one. */
import { expect } from 'chai';
import { resolveApi } from '../../../cli/api-address.ts';
import { ApiClient } from '../../../cli/api-client.ts';
import { exitCodeOf } from '../../../cli/failures.ts';
import type { StandbyPort } from '../../../scheduler/api/standby-port.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import type { VolumeView } from '../../../shared/model/api-views.ts';
import type { LeaderRecord } from '../../../shared/ports.ts';
import { type ApiFixture, startFixture } from '../../fixture/api-fixture.ts';
import { SMALL } from '../../fixture/cluster-views.ts';

const STANDBY = { isLeading: false, isStandby: true, reason: 'it stands by' };

describe('cli: several schedulers', function () {
  this.timeout(30_000);
  let leader: LeaderRecord | null;
  let one: ApiFixture;
  let other: ApiFixture;
  /** Nothing listens there any more. */
  let nobody: string;

  beforeEach(async () => {
    const gone = await startFixture(SMALL);
    nobody = gone.url;
    await gone.close();
    const port = (address: string): StandbyPort => ({
      address,
      findLeader: async () => leader,
      followStore: async () => 3_000,
    });
    one = await startFixture(SMALL, {}, port('one'));
    other = await startFixture(SMALL, {}, port('other'));
    one.manager.setLeadership(STANDBY);
    leader = { term: 2, address: other.url };
  });

  afterEach(async () => {
    await Promise.all([one.close(), other.close()]);
  });

  const volume = { name: 'new', sizeBytes: 1024 ** 3 };

  it('addresses: separated by commas, each one checked', () => {
    const environment = { CISTERN_API: 'a:1, http://b:2/' };
    expect(resolveApi(undefined, environment)).to.deep.equal(['http://a:1', 'http://b:2']);
    expect(() => resolveApi('a:1,ftp://b', {})).to.throw(StorageError, 'ftp://b');
  });

  it('one is gone: the next one answers, and is asked first from then on', async () => {
    const api = new ApiClient([nobody, other.url]);
    expect(await api.get<readonly VolumeView[]>('/volumes')).to.have.length(2);
    expect(api.address).to.equal(other.url);
  });

  it('change at a standby: done by the leader', async () => {
    const api = new ApiClient([nobody, one.url]);
    await api.send('POST', '/volumes', { body: volume });
    expect(other.manager.commands.map((command) => command.kind)).to.deep.equal(['create-volume']);
    expect(one.manager.commands).to.deep.equal([]);
  });

  it('no leader: reads say how old they are, once; changes wait for one', async () => {
    leader = null;
    const notices: string[] = [];
    const api = new ApiClient([one.url], (text) => notices.push(text));
    await api.get('/volumes');
    await api.get('/nodes');
    expect(notices).to.have.length(1);
    expect(notices[0]).to.include('3 s ago');
    const sending = api.send('POST', '/volumes', { body: volume });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(other.manager.commands).to.deep.equal([]);
    leader = { term: 3, address: other.url };
    await sending;
    expect(other.manager.commands).to.have.length(1);
  });

  it('nobody answers: unreachable, with all addresses', async () => {
    const api = new ApiClient([nobody, `${nobody}/x`]);
    const failure = await api.get('/volumes').catch((error: unknown) => error);
    expect(exitCodeOf(failure)).to.equal(3);
    expect(String(failure)).to.include(`${nobody}, ${nobody}/x`);
  });
});

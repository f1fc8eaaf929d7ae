/**
 * Every option of the first phase: what is agreed, what is refused, and what ends the connection.
 */
import { expect } from 'chai';
import { MiB } from '../../../shared/base/units.ts';
import { MemoryDevice } from '../../e2e/nbd/memory-device.ts';
import {
  contextData,
  exportOf,
  exportsOf,
  infoData,
  type OptionReply,
  option,
  readOptionReplies,
  request,
  SessionDriver,
  text,
  u16,
  u32,
} from './session-driver.ts';

const FLAGS_WRITABLE = 1 | 4 | 8 | 32 | 64 | 256 | 1024;
const DF = 128;
const READ_ONLY = 2;
const ACK = 1;
const UNSUPPORTED = 0x8000_0001;
const INVALID = 0x8000_0003;
const UNKNOWN = 0x8000_0006;
const TOO_BIG = 0x8000_0009;

/** A session after the greeting and the client's flags. */
function started(flags = 3): SessionDriver {
  const first = exportOf(new MemoryDevice({ sizeBytes: 16 * MiB }), 'v1', 'the first');
  const second = exportOf(new MemoryDevice({ sizeBytes: 5000, isReadOnly: true }), 'zwei-ü');
  const driver = new SessionDriver(exportsOf(first, second));
  driver.takeOutput();
  return driver.feed(u32(flags));
}

function ask(driver: SessionDriver, number: number, data?: Buffer): OptionReply[] {
  driver.feed(option(number, data));
  const replies = readOptionReplies(driver.takeOutput());
  for (const reply of replies) expect(reply.option, 'the option that is answered').to.equal(number);
  return replies;
}

function typesOf(replies: readonly OptionReply[]): number[] {
  return replies.map((reply) => reply.type);
}

describe('nbd handshake', () => {
  it('greeting: as the protocol has it, byte by byte', () => {
    const driver = new SessionDriver(exportsOf());
    expect(driver.takeOutput().toString('hex')).to.equal('4e42444d4147494349484156454f50540003');
  });

  it('client flags: unknown ones, connection ends', () => {
    const driver = started(0x8003);
    expect(driver.ended).to.match(/unknown handshake flags/);
  });

  it('client flags: without fixed newstyle, only EXPORT_NAME is understood', () => {
    const refused = started(2);
    refused.feed(option(3));
    expect(refused.ended).to.match(/old style/);
    const accepted = started(0);
    accepted.feed(option(1, Buffer.from('v1')));
    expect(accepted.openedExport).to.equal('v1');
  });

  it('EXPORT_NAME: size, flags and 124 zeroes; none when they are not wanted', () => {
    const head = `${(16 * MiB).toString(16).padStart(16, '0')}${FLAGS_WRITABLE.toString(16).padStart(4, '0')}`;
    const plain = started(3)
      .feed(option(1, Buffer.from('v1')))
      .takeOutput();
    expect(plain.toString('hex')).to.equal(head);
    const padded = started(1)
      .feed(option(1, Buffer.from('v1')))
      .takeOutput();
    expect(padded.toString('hex')).to.equal(head + '00'.repeat(124));
  });

  it('EXPORT_NAME: unknown name or no UTF-8, connection ends without an answer', () => {
    for (const name of [Buffer.from('nope'), Buffer.from([0xff, 0xfe]), Buffer.alloc(5000, 97)]) {
      const driver = started();
      driver.feed(option(1, name));
      expect(driver.takeOutput().length).to.equal(0);
      expect(driver.ended).to.match(/unknown export/);
    }
  });

  it('ABORT: acknowledged, connection ends', () => {
    const driver = started();
    expect(typesOf(ask(driver, 2))).to.deep.equal([ACK]);
    expect(driver.ended).to.equal('Client aborted the handshake');
  });

  it('LIST: one entry per export, then the acknowledgement', () => {
    const replies = ask(started(), 3);
    expect(typesOf(replies)).to.deep.equal([2, 2, ACK]);
    expect(replies[0]?.data).to.deep.equal(Buffer.concat([text('v1'), Buffer.from('the first')]));
    expect(replies[1]?.data).to.deep.equal(text('zwei-ü'));
    expect(typesOf(ask(started(), 3, Buffer.from('x')))).to.deep.equal([INVALID]);
  });

  it('INFO: export and block sizes always, texts when asked for; the handshake goes on', () => {
    const driver = started();
    const replies = ask(driver, 6, infoData('', [1, 2, 3, 99]));
    expect(typesOf(replies)).to.deep.equal([3, 3, 3, 3, ACK]);
    const infos = replies.map((reply) => reply.data.toString('hex'));
    expect(infos[0]).to.equal(
      `0000${(16 * MiB).toString(16).padStart(16, '0')}${FLAGS_WRITABLE.toString(16).padStart(4, '0')}`,
    );
    expect(infos[1]).to.equal(`0001${Buffer.from('v1').toString('hex')}`);
    expect(infos[2]).to.equal(`0002${Buffer.from('the first').toString('hex')}`);
    expect(infos[3]).to.equal('0003' + '00000001' + '00001000' + '02000000');
    expect(driver.openedExport).to.equal(null);
    expect(typesOf(ask(driver, 6, infoData('zwei-ü')))).to.deep.equal([3, 3, ACK]);
  });

  it('GO: opens; read-only and DF show in the flags when they apply', () => {
    const driver = started();
    ask(driver, 8);
    const replies = ask(driver, 7, infoData('zwei-ü'));
    expect(typesOf(replies)).to.deep.equal([3, 3, ACK]);
    expect(replies[0]?.data.readUInt16BE(10)).to.equal(FLAGS_WRITABLE | DF | READ_ONLY);
    expect(replies[0]?.data.readBigUInt64BE(2)).to.equal(5000n);
    expect(driver.openedExport).to.equal('zwei-ü');
  });

  it('GO: unknown export is refused and the client may try another', () => {
    const driver = started();
    expect(typesOf(ask(driver, 7, infoData('nope')))).to.deep.equal([UNKNOWN]);
    ask(driver, 7, infoData('v1'));
    expect(driver.openedExport).to.equal('v1');
  });

  it('INFO and GO: malformed data is refused, handshake goes on', () => {
    const malformed = [
      Buffer.alloc(0),
      Buffer.alloc(5),
      u32(0xffff_ffff),
      Buffer.concat([u32(0xffff_ffff), u16(0)]),
      Buffer.concat([u32(3), Buffer.from('v1'), u16(0)]),
      Buffer.concat([text('v1'), u16(2), u16(3)]),
      Buffer.concat([text('v1'), u16(0), u16(3)]),
      Buffer.concat([u32(2), Buffer.from([0xc3, 0x28]), u16(0)]),
      infoData('v1\0'),
      infoData('x'.repeat(4097)),
    ];
    const driver = started();
    for (const data of malformed) {
      expect(typesOf(ask(driver, 6, data)), data.toString('hex', 0, 20)).to.deep.equal([INVALID]);
      expect(typesOf(ask(driver, 7, data)), data.toString('hex', 0, 20)).to.deep.equal([INVALID]);
    }
    expect(driver.ended).to.equal(null);
  });

  it('STRUCTURED_REPLY: acknowledged, with data refused', () => {
    expect(typesOf(ask(started(), 8))).to.deep.equal([ACK]);
    expect(typesOf(ask(started(), 8, u32(0)))).to.deep.equal([INVALID]);
  });

  it('meta contexts: refused before structured replies', () => {
    expect(typesOf(ask(started(), 9, contextData('v1', [])))).to.deep.equal([INVALID]);
    expect(typesOf(ask(started(), 10, contextData('v1', [])))).to.deep.equal([INVALID]);
  });

  it('LIST_META_CONTEXT: nothing, the name and the namespace match; others do not', () => {
    const driver = started();
    ask(driver, 8);
    const context = Buffer.concat([u32(1), Buffer.from('base:allocation')]);
    for (const queries of [[], ['base:allocation'], ['base:'], ['x-y:z', 'base:allocation']]) {
      const replies = ask(driver, 9, contextData('v1', queries));
      expect(typesOf(replies), queries.join()).to.deep.equal([4, ACK]);
      expect(replies[0]?.data).to.deep.equal(context);
    }
    expect(typesOf(ask(driver, 9, contextData('v1', ['x:y'])))).to.deep.equal([ACK]);
    expect(typesOf(ask(driver, 9, contextData('nope', [])))).to.deep.equal([UNKNOWN]);
  });

  it('SET_META_CONTEXT: exact names only; each call replaces the last', () => {
    const driver = started();
    ask(driver, 8);
    expect(typesOf(ask(driver, 10, contextData('v1', ['base:'])))).to.deep.equal([ACK]);
    expect(typesOf(ask(driver, 10, contextData('v1', ['base:allocation'])))).to.deep.equal([
      4,
      ACK,
    ]);
    expect(typesOf(ask(driver, 10, contextData('v1', [])))).to.deep.equal([ACK]);
    ask(driver, 7, infoData('v1'));
    driver.feed(request(7, { length: 4096 }));
    expect(driver.takeReplies()[0]?.error, 'the selection is gone').to.equal(22);
  });

  it('SET_META_CONTEXT: for another export than the one opened, not in force', () => {
    const driver = started();
    ask(driver, 8);
    ask(driver, 10, contextData('v1', ['base:allocation']));
    ask(driver, 7, infoData('zwei-ü'));
    driver.feed(request(7, { length: 4096 }));
    expect(driver.takeReplies()[0]?.error).to.equal(22);
  });

  it('SET_META_CONTEXT: under the default name, in force for the true one', () => {
    const driver = started();
    ask(driver, 8);
    ask(driver, 10, contextData('', ['base:allocation']));
    ask(driver, 7, infoData('v1'));
    driver.feed(request(7, { length: 4096 }));
    expect(driver.takeReplies()[0]?.error).to.equal(0);
  });

  it('meta contexts: malformed and too many queries are refused', () => {
    const driver = started();
    ask(driver, 8);
    const malformed = [
      Buffer.alloc(7),
      Buffer.concat([text('v1'), u32(1)]),
      Buffer.concat([text('v1'), u32(0xffff_ffff), text('base:allocation')]),
      Buffer.concat([text('v1'), u32(1), u32(100), Buffer.from('base:')]),
      Buffer.concat([text('v1'), u32(0), Buffer.from('more')]),
      Buffer.concat([u32(0xffff_fff0), u32(0)]),
    ];
    for (const data of malformed) {
      expect(typesOf(ask(driver, 9, data)), data.toString('hex')).to.deep.equal([INVALID]);
    }
    const many = Array.from({ length: 65 }, (_, index) => `x:${index}`);
    expect(typesOf(ask(driver, 9, contextData('v1', many)))).to.deep.equal([TOO_BIG]);
  });

  it('unknown options: unsupported, with and without data', () => {
    const driver = started();
    for (const number of [0, 4, 5, 11, 12, 0xffff_ffff]) {
      expect(typesOf(ask(driver, number)), `option ${number}`).to.deep.equal([UNSUPPORTED]);
      expect(typesOf(ask(driver, number, Buffer.alloc(300)))).to.deep.equal([UNSUPPORTED]);
    }
  });

  it('bounds: the longest option passes, a longer one ends the connection before it arrives', () => {
    const longest = started();
    expect(typesOf(ask(longest, 99, Buffer.alloc(65_536)))).to.deep.equal([UNSUPPORTED]);
    const tooLong = started();
    tooLong.feed(Buffer.concat([Buffer.from('IHAVEOPT'), u32(99), u32(65_537)]));
    expect(tooLong.ended).to.match(/65537 bytes, allowed are 65536/);
  });

  it('bounds: the 65th option ends the connection', () => {
    const driver = started();
    for (let count = 0; count < 64; count += 1) ask(driver, 99);
    expect(driver.ended).to.equal(null);
    driver.feed(option(99));
    expect(driver.ended).to.match(/more than 64 options/);
  });

  it('garbage instead of an option: connection ends', () => {
    const driver = started();
    driver.feed(Buffer.from('GET / HTTP/1.1\r\nHost: example\r\n\r\n'));
    expect(driver.ended).to.match(/no option/);
  });
});

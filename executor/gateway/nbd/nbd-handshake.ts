/**
 * The first phase of an NBD connection: the client's options, one at a time, each answered, until
 * it chooses an export or leaves. Bytes are framed by nbd-session.ts; this decides what each option
 * means. What is agreed here (`NbdTerms`) holds for the whole second phase.
 */
import { KiB, MiB } from '../../../shared/base/units.ts';
import {
  BASE_ALLOCATION,
  decodeInfoQuery,
  decodeMetaContextQuery,
  decodeName,
  EXPORT_FLAG,
  encodeExportNameReply,
  encodeInfoBlockSize,
  encodeInfoExport,
  encodeInfoText,
  encodeListEntry,
  encodeMetaContext,
  encodeOptionReply,
  HANDSHAKE_FLAG,
  INFO,
  OPTION,
  OPTION_REPLY,
  type OptionReplyType,
} from '../../../shared/wire/nbd.ts';
import type { BlockDevice } from '../block-device.ts';

export interface NbdExport {
  /** The one true name, also when it was found by another (the empty one, say). */
  readonly name: string;
  /** For people; empty when there is nothing to say. */
  readonly description: string;
  readonly device: BlockDevice;
}

export interface NbdExports {
  /** By the name that a client gave; the empty name asks for the default export. */
  find(name: string): NbdExport | null;
  list(): readonly Pick<NbdExport, 'name' | 'description'>[];
}

/** What client and server agreed on. */
export interface NbdTerms {
  readonly export: NbdExport;
  readonly isStructured: boolean;
  /** BLOCK_STATUS with `base:allocation` was negotiated for this very export. */
  readonly hasBlockStatus: boolean;
}

export type HandshakeNext =
  | { readonly kind: 'continue' }
  | { readonly kind: 'transmit'; readonly terms: NbdTerms }
  | { readonly kind: 'close'; readonly reason: string };

export interface HandshakeStep {
  readonly replies: readonly Buffer[];
  readonly next: HandshakeNext;
}

/** Largest READ or WRITE; what every common client can live with (qemu's own limit). */
export const NBD_PAYLOAD_BYTES_MAX = 32 * MiB;
/** Names have at most 4 KiB; sixteen of them are more than any option needs. */
export const NBD_OPTION_BYTES_MAX = 64 * KiB;
/** A client that tries everything there is sends about a dozen. */
const OPTIONS_MAX = 64;
/** Clients ask for one or two. */
const META_QUERIES_MAX = 64;
/** The only context there is; its number on the wire. */
export const BASE_ALLOCATION_ID = 1;

/** Any byte range works; whole blocks work best. */
const BLOCK_SIZES = { minimum: 1, preferred: 4 * KiB, maximum: NBD_PAYLOAD_BYTES_MAX };

const CONTINUE: HandshakeNext = { kind: 'continue' };

export class NbdHandshake {
  readonly #exports: NbdExports;
  #isFixedNewstyle = false;
  #wantsZeroes = true;
  #isStructured = false;
  /** Name of the export for which `base:allocation` was selected. */
  #contextExport: string | null = null;
  #optionCount = 0;

  constructor(exports: NbdExports) {
    this.#exports = exports;
  }

  /** The client's answer to the greeting. Returns why the connection must end, or null. */
  acceptFlags(flags: number): string | null {
    const known = HANDSHAKE_FLAG.fixedNewstyle | HANDSHAKE_FLAG.noZeroes;
    if ((flags & ~known) !== 0) return `Client sent unknown handshake flags ${flags}`;
    this.#isFixedNewstyle = (flags & HANDSHAKE_FLAG.fixedNewstyle) !== 0;
    this.#wantsZeroes = (flags & HANDSHAKE_FLAG.noZeroes) === 0;
    return null;
  }

  /** `data` is only looked at, never kept. */
  handle(option: number, data: Buffer): HandshakeStep {
    this.#optionCount += 1;
    if (this.#optionCount > OPTIONS_MAX) {
      return close(`Client sent more than ${OPTIONS_MAX} options`);
    }
    if (!this.#isFixedNewstyle && option !== OPTION.exportName) {
      return close(`Client of the old style sent option ${option}`);
    }
    switch (option) {
      case OPTION.exportName:
        return this.#exportName(data);
      case OPTION.abort:
        return {
          ...reply(option, OPTION_REPLY.ack),
          next: { kind: 'close', reason: 'Client aborted the handshake' },
        };
      case OPTION.list:
        return this.#list(data);
      case OPTION.info:
      case OPTION.go:
        return this.#info(option, data);
      case OPTION.structuredReply:
        if (data.length !== 0) return invalid(option, 'This option has no data');
        this.#isStructured = true;
        return reply(option, OPTION_REPLY.ack);
      case OPTION.listMetaContext:
      case OPTION.setMetaContext:
        return this.#metaContext(option, data);
      default:
        return reply(option, OPTION_REPLY.unsupported);
    }
  }

  /** The old way to choose: no error reply exists, only the end of the connection. */
  #exportName(data: Buffer): HandshakeStep {
    const name = decodeName(data);
    const found = name === null ? null : this.#exports.find(name);
    if (found === null) return close(`Client asked for unknown export "${name ?? ''}"`);
    const flags = exportFlags(found.device, this.#isStructured);
    return {
      replies: [encodeExportNameReply(found.device.sizeBytes, flags, this.#wantsZeroes)],
      next: { kind: 'transmit', terms: this.#termsFor(found) },
    };
  }

  #list(data: Buffer): HandshakeStep {
    if (data.length !== 0) return invalid(OPTION.list, 'This option has no data');
    const replies = this.#exports
      .list()
      .map((entry) =>
        encodeOptionReply(
          OPTION.list,
          OPTION_REPLY.server,
          encodeListEntry(entry.name, entry.description),
        ),
      );
    replies.push(encodeOptionReply(OPTION.list, OPTION_REPLY.ack, Buffer.alloc(0)));
    return { replies, next: CONTINUE };
  }

  #info(option: number, data: Buffer): HandshakeStep {
    const query = decodeInfoQuery(data);
    if (query === null) return invalid(option, 'Malformed request for information');
    const found = this.#exports.find(query.name);
    if (found === null) return unknownExport(option, query.name);
    const infos = [
      encodeInfoExport(found.device.sizeBytes, exportFlags(found.device, this.#isStructured)),
    ];
    if (query.infos.includes(INFO.name)) infos.push(encodeInfoText(INFO.name, found.name));
    if (query.infos.includes(INFO.description) && found.description !== '') {
      infos.push(encodeInfoText(INFO.description, found.description));
    }
    infos.push(encodeInfoBlockSize(BLOCK_SIZES));
    const replies = infos.map((info) => encodeOptionReply(option, OPTION_REPLY.info, info));
    replies.push(encodeOptionReply(option, OPTION_REPLY.ack, Buffer.alloc(0)));
    if (option === OPTION.info) return { replies, next: CONTINUE };
    return { replies, next: { kind: 'transmit', terms: this.#termsFor(found) } };
  }

  #metaContext(option: number, data: Buffer): HandshakeStep {
    const isSet = option === OPTION.setMetaContext;
    // Whatever goes wrong below, an earlier selection is void.
    if (isSet) this.#contextExport = null;
    if (!this.#isStructured) return invalid(option, 'Structured replies come first');
    const query = decodeMetaContextQuery(data);
    if (query === null) return invalid(option, 'Malformed list of contexts');
    if (query.queries.length > META_QUERIES_MAX) return reply(option, OPTION_REPLY.tooBig);
    const found = this.#exports.find(query.name);
    if (found === null) return unknownExport(option, query.name);
    const isMatch = isSet
      ? query.queries.includes(BASE_ALLOCATION)
      : query.queries.length === 0 ||
        query.queries.some((name) => name === BASE_ALLOCATION || name === 'base:');
    const replies: Buffer[] = [];
    if (isMatch) {
      if (isSet) this.#contextExport = found.name;
      const context = encodeMetaContext(BASE_ALLOCATION_ID, BASE_ALLOCATION);
      replies.push(encodeOptionReply(option, OPTION_REPLY.metaContext, context));
    }
    replies.push(encodeOptionReply(option, OPTION_REPLY.ack, Buffer.alloc(0)));
    return { replies, next: CONTINUE };
  }

  #termsFor(found: NbdExport): NbdTerms {
    return {
      export: found,
      isStructured: this.#isStructured,
      hasBlockStatus: this.#contextExport === found.name,
    };
  }
}

/**
 * CAN_MULTI_CONN: all connections of an export submit to one device, whose flush covers whatever
 * was done before it, no matter for which connection.
 */
export function exportFlags(device: BlockDevice, isStructured: boolean): number {
  return (
    EXPORT_FLAG.hasFlags |
    EXPORT_FLAG.sendFlush |
    EXPORT_FLAG.sendFua |
    EXPORT_FLAG.sendTrim |
    EXPORT_FLAG.sendWriteZeroes |
    EXPORT_FLAG.canMultiConn |
    EXPORT_FLAG.sendCache |
    (isStructured ? EXPORT_FLAG.sendDf : 0) |
    (device.isReadOnly ? EXPORT_FLAG.readOnly : 0)
  );
}

function reply(option: number, type: OptionReplyType): HandshakeStep {
  return { replies: [encodeOptionReply(option, type, Buffer.alloc(0))], next: CONTINUE };
}

function invalid(option: number, text: string): HandshakeStep {
  const data = Buffer.from(text);
  return { replies: [encodeOptionReply(option, OPTION_REPLY.invalid, data)], next: CONTINUE };
}

function unknownExport(option: number, name: string): HandshakeStep {
  const data = Buffer.from(name === '' ? 'There is no default export' : `No export "${name}" here`);
  return { replies: [encodeOptionReply(option, OPTION_REPLY.unknown, data)], next: CONTINUE };
}

function close(reason: string): HandshakeStep {
  return { replies: [], next: { kind: 'close', reason } };
}

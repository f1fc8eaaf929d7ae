/**
 * Whether a request may be carried out. Every rule of the second phase is here; what passes is
 * trusted from then on (the device relies on ranges inside its size).
 */
import {
  COMMAND,
  COMMAND_FLAG,
  NBD_ERROR,
  type NbdError,
  type NbdRequestHeader,
} from '../../../shared/wire/nbd.ts';
import { NBD_PAYLOAD_BYTES_MAX, type NbdTerms } from './nbd-handshake.ts';

/** `NBD_ERROR.none`, or what to answer. DISCONNECT has no answer and is never judged. */
export function judgeRequest(header: NbdRequestHeader, terms: NbdTerms): NbdError {
  const allowed = allowedFlags(header.type, terms);
  if (allowed === null || (header.flags & ~allowed) !== 0) return NBD_ERROR.invalid;
  const device = terms.export.device;
  switch (header.type) {
    case COMMAND.flush:
      return header.length === 0 && header.offset === 0 ? NBD_ERROR.none : NBD_ERROR.invalid;
    case COMMAND.write:
    case COMMAND.writeZeroes:
    case COMMAND.trim:
      if (device.isReadOnly) return NBD_ERROR.notPermitted;
      break;
    case COMMAND.blockStatus:
      if (!terms.hasBlockStatus) return NBD_ERROR.invalid;
      break;
    default:
      break;
  }
  // The protocol leaves empty requests undefined; refusing them keeps them out of every layer
  // below.
  if (header.length === 0) return NBD_ERROR.invalid;
  const carriesData = header.type === COMMAND.read || header.type === COMMAND.write;
  if (carriesData && header.length > NBD_PAYLOAD_BYTES_MAX) return NBD_ERROR.invalid;
  if (header.offset + header.length > device.sizeBytes) {
    const adds = header.type === COMMAND.write || header.type === COMMAND.writeZeroes;
    return adds ? NBD_ERROR.noSpace : NBD_ERROR.invalid;
  }
  return NBD_ERROR.none;
}

/**
 * Null for a command that we do not know. FUA is legal with every command and means something with
 * those that write. FAST_ZERO is not offered (zeroing a large range takes many messages), so it is
 * as unknown as any other flag.
 */
function allowedFlags(type: number, terms: NbdTerms): number | null {
  switch (type) {
    case COMMAND.read:
      return COMMAND_FLAG.fua | (terms.isStructured ? COMMAND_FLAG.df : 0);
    case COMMAND.write:
    case COMMAND.flush:
    case COMMAND.trim:
    case COMMAND.cache:
      return COMMAND_FLAG.fua;
    case COMMAND.writeZeroes:
      return COMMAND_FLAG.fua | COMMAND_FLAG.noHole;
    case COMMAND.blockStatus:
      return COMMAND_FLAG.fua | COMMAND_FLAG.reqOne;
    default:
      return null;
  }
}

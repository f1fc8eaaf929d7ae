/** The codec with which simulated executors keep their last map: the one of production. */
import { join } from 'node:path';
import { type ControlCodec, loadControlCodec } from '../../../shared/node/control-codec.ts';
import { PROJECT_ROOT } from '../../tidy/source-tree.ts';

let codec: ControlCodec | null = null;

/** Loaded once: it holds no state. */
export function mapCodec(): ControlCodec {
  codec ??= loadControlCodec(join(PROJECT_ROOT, 'proto'));
  return codec;
}

/** Writes the golden vectors anew: only after a change of the format, with a new version number. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { encodeFrame } from '../../../shared/wire/data-codec.ts';
import { FRAME_SAMPLES } from './frame-samples.ts';

const folder = 'test/vectors/data-protocol';
mkdirSync(folder, { recursive: true });
for (const [name, frame] of Object.entries(FRAME_SAMPLES)) {
  writeFileSync(`${folder}/${name}.bin`, encodeFrame(frame));
}

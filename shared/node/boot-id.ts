/** The name of the machine's present boot: what tells a restart of a process from one of the machine. */
import { readFileSync } from 'node:fs';

/** Made anew by the kernel with every boot, the same in all containers of the machine. */
const BOOT_ID_PATH = '/proc/sys/kernel/random/boot_id';

/** Empty when the system does not say: then every start counts as another boot. */
export function readBootId(): string {
  try {
    return readFileSync(BOOT_ID_PATH, 'utf8').trim();
  } catch {
    // Not Linux, or /proc is not mounted. To forget too often costs copying, to remember wrongly costs data.
    return '';
  }
}

/**
 * Memory for answers: small buffers cut from larger ones, because an allocation of its own for each
 * 4 KiB costs more than filling it. Nothing is given back by hand; a slab goes when its last view does.
 */
const SLAB_BYTES = 256 * 1024;
/** Larger requests get memory of their own: they would only waste the rest of a slab. */
const CUT_BYTES_MAX = 32 * 1024;

export class Slab {
  #current = Buffer.allocUnsafeSlow(SLAB_BYTES);
  #used = 0;

  /** Not cleared: the caller overwrites all of it. */
  take(length: number): Buffer {
    if (length > CUT_BYTES_MAX) return Buffer.allocUnsafeSlow(length);
    if (this.#used + length > SLAB_BYTES) {
      this.#current = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#used = 0;
    }
    const cut = this.#current.subarray(this.#used, this.#used + length);
    this.#used += length;
    return cut;
  }
}

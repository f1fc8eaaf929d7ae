/** The node's right to serve (DESIGN 5): one end of time, shared by its replicas and its gateways. */
export class Lease {
  #untilMs = 0;

  /** Never shortens. */
  extend(untilMs: number): void {
    if (untilMs > this.#untilMs) this.#untilMs = untilMs;
  }

  isHeld(nowMs: number): boolean {
    return nowMs < this.#untilMs;
  }
}

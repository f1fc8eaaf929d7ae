/** What a chaos run asks of its clients: all run for the length of a round, then each checks what it wrote. */
export interface Load {
  readonly name: string;
  /** Writes until `stop`. Rejects when the first steps fail. */
  start(): Promise<void>;
  /** Ends writing and resolves when everything asked is answered. Rejects when the load itself failed. */
  stop(): Promise<void>;
  /** Reads back what must be there; throws when something is not. Resolves with a few words on what it saw. */
  verify(): Promise<string>;
  /** The volume was attached elsewhere while its old gateway may still live: go there. */
  relocate?(): void;
  /** At the end of the run; ends every process that the load started. Idempotent. */
  close(): Promise<void>;
  /** Figures of the whole run until now. */
  readonly figures: Readonly<Record<string, number>>;
}

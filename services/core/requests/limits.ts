/** What a request may ask for. What clients must agree on is in kv.proto; each value here is its default. */
export interface RequestLimits {
  readonly keyBytesMax: number;
  readonly valueBytesMax: number;
  /** All siblings of a key together: a put that would go beyond is refused until somebody resolves them. */
  readonly recordBytesMax: number;
  /** And so many: each put and get of the key looks at all of them, and an answer names those it leaves out. */
  readonly siblingsMax: number;
  readonly requestIdBytesMax: number;
  /** Operations that name no time-out of their own get this one. */
  readonly timeoutMsDefault: number;
  readonly timeoutMsMax: number;
  /** Value bytes in one answer, where the request names no bound: fits a 4 MiB message. */
  readonly answerBytesDefault: number;
}

export const requestLimits: RequestLimits = Object.freeze({
  keyBytesMax: 4_096,
  valueBytesMax: 1024 * 1024,
  recordBytesMax: 16 * 1024 * 1024,
  siblingsMax: 1_000,
  requestIdBytesMax: 32,
  timeoutMsDefault: 10_000,
  timeoutMsMax: 60_000,
  answerBytesDefault: 3 * 1024 * 1024,
});

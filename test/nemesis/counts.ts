/** What the clients were answered, in numbers. */
export interface Counts {
  acknowledged: number;
  unknown: number;
  notApplied: number;
  reads: number;
  readsFailed: number;
  /** Writes that had two dots: their attempts met two coordinators. */
  retried: number;
  /** Of reads and writes, by reason. */
  readonly failures: Map<string, number>;
}

export function createCounts(): Counts {
  return { acknowledged: 0, unknown: 0, notApplied: 0, reads: 0, readsFailed: 0, retried: 0, failures: new Map() };
}

export function countOne(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

/** A promise that was broken: what the simulation and the nemesis look for. */

/** What a user would call it: a write that is gone, one that is back, a value that should not be there. */
export type Finding = 'lost' | 'resurrected' | 'unexplained' | 'other';

export class Violation extends Error {
  readonly promise: string;
  readonly finding: Finding;

  constructor(promise: string, message: string, finding: Finding = 'other') {
    super(message);
    this.name = 'Violation';
    this.promise = promise;
    this.finding = finding;
  }
}

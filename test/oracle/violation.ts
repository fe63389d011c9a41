/** A promise that was broken: what the simulation looks for. Thrown, or reported, once; the run ends. */
export class Violation extends Error {
  readonly promise: string;

  constructor(promise: string, message: string) {
    super(message);
    this.name = 'Violation';
    this.promise = promise;
  }
}

/** The storage engine refuses bytes of its disk: they are not the ones that were written. Not the same as absent. */
export class DamagedData extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DamagedData';
  }
}

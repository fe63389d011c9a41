import { Failure } from '../core/failure.ts';

/** What a storage engine that is closed refuses everything with (the port's I6): its process is stopping. */
export function engineClosed(): Failure {
  return new Failure('DRAINING', 'the storage engine is closed');
}

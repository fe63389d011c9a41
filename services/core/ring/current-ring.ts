import { Failure } from '../failure.ts';
import type { Ring } from './ring.ts';

/** Throws Failure NO_RING while there is none. */
export function currentRing(holder: { ring(): Ring | undefined }): Ring {
  const ring = holder.ring();
  if (ring !== undefined) return ring;
  throw new Failure('NO_RING', 'the ring is not formed yet, or not known here', { retryAfterMs: 500 });
}

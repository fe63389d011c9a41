/** Randomness of the system, drawn a page at a time: one draw costs about a microsecond whatever its size. */
import { randomFillSync, randomInt } from 'node:crypto';
import type { Random } from '../core/ports.ts';

const pageBytes = 4096;

export function createRandom(): Random {
  const page = Buffer.alloc(pageBytes);
  let position = pageBytes;
  return {
    u64() {
      if (position === pageBytes) {
        randomFillSync(page);
        position = 0;
      }
      const value = page.readBigUInt64BE(position);
      position += 8;
      return value;
    },
    below: (bound) => randomInt(bound),
  };
}

/** Request ids: 8 random bytes of this process, then a counter; one process never makes one twice. */
import type { Random } from '../../core/ports.ts';

export function createRequestIds(random: Random): () => Buffer {
  const prefix = random.u64();
  let count = 0;
  return () => {
    const id = Buffer.allocUnsafe(14);
    id.writeBigUInt64BE(prefix, 0);
    id.writeUIntBE(++count, 8, 6);
    return id;
  };
}

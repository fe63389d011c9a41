/**
 * The keys that a load has met, as 64 bits of each, to notice one that comes again. Open addressing over one
 * typed array; at most `capacity` keys, after which nothing is noticed any more and `full` says so.
 *
 * Two different keys with the same 64 bits are taken for one with a chance of n² / 2^65, 10^-5 at 20 million
 * keys; such a key is read before it is written, and not harmed.
 */
import { hash } from 'node:crypto';

/** 512 MiB at 16 bytes a key and half-full slots. */
const keysMax = 2 ** 24;

export class KeySet {
  full = false;
  private slots = new BigUint64Array(1024);
  private size = 0;
  private readonly capacity: number;

  constructor(capacity = keysMax) {
    this.capacity = capacity;
  }

  /** Whether the key was there already. False for all once it is full. */
  add(key: string): boolean {
    const fingerprint = fingerprintOf(key);
    const at = this.slotOf(fingerprint);
    if (this.slots[at] === fingerprint) return true;
    if (this.size >= this.capacity) {
      this.full = true;
      return false;
    }
    this.slots[at] = fingerprint;
    this.size++;
    if (this.size * 2 > this.slots.length) this.grow();
    return false;
  }

  private slotOf(fingerprint: bigint): number {
    const mask = this.slots.length - 1;
    let at = Number(fingerprint & BigInt(mask));
    while (this.slots[at] !== 0n && this.slots[at] !== fingerprint) at = (at + 1) & mask;
    return at;
  }

  private grow(): void {
    const old = this.slots;
    this.slots = new BigUint64Array(old.length * 2);
    for (const fingerprint of old) if (fingerprint !== 0n) this.slots[this.slotOf(fingerprint)] = fingerprint;
  }
}

/** Never 0, which marks an empty slot. */
function fingerprintOf(key: string): bigint {
  return hash('sha256', key, 'buffer').readBigUInt64LE(0) || 1n;
}

/**
 * Reading and writing the byte layouts of this folder: LEB128 varints, big-endian fixed widths, and runs
 * of bytes with their length before them.
 */

/** The bytes are not what they should be; the message names what was wanted and what was there. */
export class Malformed extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Malformed';
  }
}

const noBytes = new Uint8Array(0);

/** One number of 64 bits, and its halves: what is written as the one is read as the other, and only that bigint is made. */
const wide = new BigUint64Array(1);
const halves = new Uint32Array(wide.buffer);
const isLittleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
const LOW = isLittleEndian ? 0 : 1;
const HIGH = isLittleEndian ? 1 : 0;

/** Both unsigned. */
export function u64Of(high: number, low: number): bigint {
  halves[HIGH] = high;
  halves[LOW] = low;
  return wide[0] as bigint;
}

/** The upper 32 bits of the lower 64. */
export function highOf(value: bigint): number {
  wide[0] = value;
  return halves[HIGH] as number;
}

export function lowOf(value: bigint): number {
  wide[0] = value;
  return halves[LOW] as number;
}

export class ByteReader {
  readonly bytes: Uint8Array;
  readonly end: number;
  position: number;

  constructor(bytes: Uint8Array, position = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.position = position;
    this.end = end;
  }

  u8(): number {
    if (this.position >= this.end) throw this.#short(1);
    return this.bytes[this.position++] as number;
  }

  u32(): number {
    if (this.position + 4 > this.end) throw this.#short(4);
    const { bytes, position } = this;
    this.position += 4;
    return (
      (((bytes[position] as number) << 24) |
        ((bytes[position + 1] as number) << 16) |
        ((bytes[position + 2] as number) << 8) |
        (bytes[position + 3] as number)) >>>
      0
    );
  }

  u64(): bigint {
    return u64Of(this.u32(), this.u32());
  }

  /** A non-negative integer up to 2^53 - 1, in its shortest form. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && i > 0)
          throw new Malformed(`varint at ${this.position - i - 1} is longer than it needs to be`);
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 128;
    }
    throw new Malformed(`varint before byte ${this.position} is above 2^53 - 1`);
  }

  /** A view, not a copy. */
  take(length: number): Uint8Array {
    if (length > this.end - this.position) throw this.#short(length);
    if (length === 0) return noBytes;
    const view = this.bytes.subarray(this.position, this.position + length);
    this.position += length;
    return view;
  }

  finish(): void {
    if (this.position !== this.end) throw new Malformed(`${this.end - this.position} bytes after the end`);
  }

  #short(wanted: number): Malformed {
    return new Malformed(`${wanted} bytes wanted at ${this.position}, ${this.end - this.position} there`);
  }
}

/** Writes into a buffer of a size worked out before: the layouts here are sized first, then written once. */
export class ByteWriter {
  readonly bytes: Uint8Array;
  position = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  u8(value: number): void {
    this.bytes[this.position++] = value;
  }

  u32(value: number): void {
    const { bytes } = this;
    bytes[this.position++] = value >>> 24;
    bytes[this.position++] = value >>> 16;
    bytes[this.position++] = value >>> 8;
    bytes[this.position++] = value;
  }

  u64(value: bigint): void {
    this.u32(highOf(value));
    this.u32(lowOf(value));
  }

  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.bytes[this.position++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.position++] = rest;
  }

  put(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.position);
    this.position += bytes.length;
  }
}

export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 128)) size++;
  return size;
}

/**
 * The two hash functions of Cartwheel. For 40 bytes (a storage key): XXH64 by @node-rs/xxhash 0.3 µs; for
 * 1 KiB (a record): CRC-32 by zlib 0.5 µs, and no bigint made.
 */
import { crc32 } from 'node:zlib';
import { xxh64 as nativeXxh64 } from '@node-rs/xxhash';
import type { Checksum32, Hash64 } from '../core/ports.ts';

export const xxh64: Hash64 = (bytes, seed) => nativeXxh64(bytes, seed);

export const checksum32: Checksum32 = (bytes, seed) => crc32(bytes, seed);

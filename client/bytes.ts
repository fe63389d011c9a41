import { Failure } from '../services/core/failure.ts';
import { OperationFailed } from './operation-failed.ts';
import type { Key, Value } from './types.ts';

/** Throws OperationFailed for what is neither a string nor bytes. */
export function bytesOf(value: Key | Value): Buffer {
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (Buffer.isBuffer(value)) return value;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  throw new OperationFailed(
    new Failure('OPERATION_INVALID', `a string or bytes are wanted, and ${String(value)} came`),
  );
}

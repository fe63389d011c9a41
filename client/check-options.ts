/** Options that no message can carry, found before anything is sent: one of them would end the session for all. */
import { Failure, type ReasonName } from '../services/core/failure.ts';
import { isDurability } from './namespaces.ts';
import type { GetOptions, OperationOptions, PutOptions } from './types.ts';

const uint32Max = 2 ** 32 - 1;
/** What a timer can be set to. */
const timeoutMsMax = 2 ** 31 - 1;
/** What servers take; one of today's version has 55. */
const traceparentCharactersMax = 128;

/** Throws Failure that names the option. Whether a number makes sense to the cluster its nodes say. */
export function checkOptions(options: OperationOptions & GetOptions & PutOptions): void {
  const { r, w, maxBytes, attempt, timeoutMs, ttlMs, durability, require, traceparent, namespace, dots } = options;
  integer('QUORUM_INVALID', 'r', r);
  integer('QUORUM_INVALID', 'w', w);
  integer('OPERATION_INVALID', 'maxBytes', maxBytes);
  integer('OPERATION_INVALID', 'attempt', attempt);
  for (const [field, count] of Object.entries(require ?? {})) integer('OPERATION_INVALID', `require.${field}`, count);
  if (timeoutMs !== undefined && !(timeoutMs > 0 && timeoutMs <= timeoutMsMax))
    throw wrong('OPERATION_INVALID', 'timeoutMs', timeoutMs, `more than 0 and at most ${timeoutMsMax} milliseconds`);
  if (traceparent !== undefined && !(typeof traceparent === 'string' && traceparent.length <= traceparentCharactersMax))
    throw wrong(
      'OPERATION_INVALID',
      'traceparent',
      traceparent,
      `text of at most ${traceparentCharactersMax} characters`,
    );
  if (ttlMs !== undefined && !(ttlMs >= 0 && ttlMs <= Number.MAX_SAFE_INTEGER))
    throw wrong('TTL_INVALID', 'ttlMs', ttlMs, 'milliseconds, 0 or more');
  if (namespace !== undefined && typeof namespace !== 'string')
    throw wrong('NAMESPACE_INVALID', 'namespace', namespace, 'text');
  if (dots !== undefined && !(Array.isArray(dots) && dots.every((dot) => typeof dot === 'string')))
    throw wrong('CONTEXT_INVALID', 'dots', dots, 'an array of dots, as siblings have them');
  if (durability !== undefined && !isDurability(durability))
    throw wrong('DURABILITY_INVALID', 'durability', durability, 'DURABLE, ONE_DURABLE or BUFFERED');
}

function integer(reason: ReasonName, field: string, value: number | undefined): void {
  if (value === undefined || (Number.isInteger(value) && value >= 0 && value <= uint32Max)) return;
  throw wrong(reason, field, value, `a whole number, 0 to ${uint32Max}`);
}

function wrong(reason: ReasonName, field: string, seen: unknown, wanted: string): Failure {
  return new Failure(reason, `${field} is ${String(seen)}, and it has to be ${wanted}`, { field });
}

/**
 * Session guarantees (Terry et al. 1994, "Session guarantees for weakly consistent replicated data"): within a session
 * reads see the session's own writes, and never go back behind what it has read. It is the contexts that do it: the
 * session keeps what it has seen of each key, and sends it with each read.
 *
 * I1 What is kept of a key only grows: two answers that overtake each other are joined. (Where the cluster is newer than
 *    this client, and its contexts are of a version unknown here, the later answer's is kept.)
 * I2 Of at most `keysMax` keys something is kept, those used last.
 */
import { Malformed } from '../services/core/codec/bytes.ts';
import { createContextCodec } from '../services/core/codec/context.ts';
import { requestLimits } from '../services/core/requests/limits.ts';
import { locate } from '../services/core/requests/validate.ts';
import { storageKeyText } from '../services/core/ring/storage-key.ts';
import { join } from '../services/core/versioning/causal-context.ts';
import { xxh64 } from '../services/platform/hash.ts';
import { bytesOf } from './bytes.ts';
import { checkOptions } from './check-options.ts';
import type { CartwheelClient } from './index.ts';
import { asFailed } from './operation-failed.ts';
import type { Key } from './types.ts';

/** `certificate.coversSession` of a get says where the guarantee could not be shown; an update fails then. */
export type CartwheelSession = Pick<CartwheelClient, 'get' | 'put' | 'delete' | 'update'>;

/** As the client has it; `onRead` is given the context of what the merge then sees, whatever becomes of the write. */
type Update = (
  ...of: [...Required<Parameters<CartwheelClient['update']>>, onRead: (context: Uint8Array) => void]
) => ReturnType<CartwheelClient['update']>;

export const keysMax = 10_000;
const contexts = createContextCodec(xxh64);
const validation = { limits: requestLimits, hash: xxh64 };

export function createSession(client: Omit<CartwheelSession, 'update'> & { update: Update }): CartwheelSession {
  const seen = new Map<string, Uint8Array>();

  function slotOf(namespace: string | undefined, key: Key) {
    const { storageKey, keyHash } = asFailed(() => {
      checkOptions({ namespace });
      return locate(namespace ?? '', bytesOf(key), validation);
    });
    const name = storageKeyText(storageKey);
    return {
      /** What the session has seen, and what the caller says that it has. */
      context(besides: Uint8Array | undefined): Uint8Array | undefined {
        const known = seen.get(name);
        if (known === undefined || besides === undefined) return known ?? besides;
        return joined(known, besides, keyHash);
      },
      learn(context: Uint8Array): void {
        const known = seen.get(name);
        seen.delete(name);
        seen.set(name, known === undefined ? context : joined(known, context, keyHash));
        if (seen.size > keysMax) seen.delete(seen.keys().next().value as string);
      },
    };
  }

  async function learning<T extends { readonly context: Uint8Array }>(
    { learn }: ReturnType<typeof slotOf>,
    answer: Promise<T>,
  ): Promise<T> {
    const answered = await answer;
    learn(answered.context);
    return answered;
  }

  return {
    async get(key, options = {}) {
      const slot = slotOf(options.namespace, key);
      return learning(slot, client.get(key, { ...options, session: slot.context(options.session) }));
    },
    async put(key, value, options = {}) {
      return learning(slotOf(options.namespace, key), client.put(key, value, options));
    },
    async delete(key, context, options = {}) {
      return learning(slotOf(options.namespace, key), client.delete(key, context, options));
    },
    async update(key, merge, options = {}) {
      const slot = slotOf(options.namespace, key);
      const how = { ...options, session: slot.context(options.session) };
      return learning(slot, client.update(key, merge, how, slot.learn));
    },
  };
}

function joined(a: Uint8Array, b: Uint8Array, keyHash: bigint): Uint8Array {
  if (Buffer.compare(a, b) === 0) return a;
  try {
    return contexts.encode(join(contexts.decode(a, keyHash), contexts.decode(b, keyHash)), keyHash);
  } catch (error) {
    if (error instanceof Malformed) return b;
    throw error;
  }
}

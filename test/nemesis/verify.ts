/**
 * The last check, once faults are over: every key is read with r = N through each of its homes, until none of them
 * finds anything to mend. Then every read must show all that was acknowledged, nothing that was covered, and nothing
 * that nobody wrote.
 *
 * Reads drive the repair. What a read must show anyway (R + W > N) is checked at once; what depends on repairs, and
 * on hints that are still on their way, has until `patienceMs`.
 */
import { type CartwheelClient, OperationFailed } from '../../client/index.ts';
import { decodeRing } from '../../services/core/ring/codec.ts';
import { partitionOfStorageKey } from '../../services/core/ring/partition.ts';
import { preferenceList } from '../../services/core/ring/preference-list.ts';
import { checkCart } from '../oracle/checks/carts.ts';
import { Violation } from '../oracle/violation.ts';
import { isCart, namespaceOf, storageKeyOf } from '../sim/keys.ts';
import type { Oracle } from './oracle.ts';
import type { Violations } from './violations.ts';

/** For hints, repairs, and a machine that is busy. */
const patienceMs = 90_000;
const roundPauseMs = 500;
const readersMax = 48;
const timeoutMs = 10_000;

export interface VerifyOptions {
  readonly keys: readonly string[];
  /** By the address that the ring has for it, a client of each node. */
  readonly clients: ReadonlyMap<string, CartwheelClient>;
  readonly oracle: Oracle;
  readonly violations: Violations;
  readonly stop: AbortSignal;
  now(): number;
  onProgress(checked: number, rounds: number): void;
}

export async function verify(options: VerifyOptions): Promise<void> {
  const { keys, violations, stop, now, onProgress } = options;
  const homesOf = await homesByRing(options.clients);
  const giveUpAt = now() + patienceMs;
  let left = keys;
  for (let round = 1; left.length > 0; round++) {
    const unsettled: string[] = [];
    const isLast = now() > giveUpAt;
    let next = 0;
    const reader = async () => {
      for (let key = left[next++]; key !== undefined && !stop.aborted; key = left[next++]) {
        const problem = await problemOf(options, key, homesOf(key));
        if (problem === undefined || problem === 'found already') continue;
        if (isLast) violations.add(key, problem);
        else unsettled.push(key);
      }
    };
    await Promise.all(Array.from({ length: readersMax }, reader));
    if (stop.aborted) return;
    onProgress(keys.length - unsettled.length, round);
    left = unsettled;
    if (left.length > 0) await new Promise((resolve) => setTimeout(resolve, roundPauseMs));
  }
}

/** Undefined: all homes agree, and on what they should. A Violation is one only if it stays. */
async function problemOf(
  options: VerifyOptions,
  key: string,
  homes: readonly CartwheelClient[],
): Promise<Violation | 'found already' | undefined> {
  const { oracle, violations, now } = options;
  for (const home of homes) {
    const startedAt = now();
    try {
      const { siblings, certificate } = await home.get(key, {
        namespace: namespaceOf(key),
        r: homes.length,
        timeoutMs,
      });
      const where = 'a get after the faults';
      const read = { key, r: certificate.homesAnswered, startedAt, siblings, where };
      if (!violations.attempt(key, () => oracle.reads.answered(read))) return 'found already';
      oracle.reads.answered({ ...read, faultsAreOver: true });
      if (isCart(key))
        checkCart(
          oracle.ledger,
          key,
          siblings.map(({ value }) => value),
        );
      if (certificate.divergent) return new Violation('P6', `reads still find something to mend in ${key}`);
    } catch (error) {
      if (error instanceof Violation) return error;
      if (!(error instanceof OperationFailed)) throw error;
      return new Violation('P9', `${key} cannot be read, and faults are over: ${error.reason}, ${error.message}`);
    }
  }
  return undefined;
}

async function homesByRing(
  clients: ReadonlyMap<string, CartwheelClient>,
): Promise<(key: string) => readonly CartwheelClient[]> {
  const [first] = clients.values();
  if (first === undefined) throw new Error('there is no client');
  const ring = decodeRing(await first.ring());
  return (key) => {
    const partition = partitionOfStorageKey(storageKeyOf(key), ring.partitions);
    const indexes = preferenceList(ring, partition).slice(0, ring.replicas);
    return indexes.map((index) => {
      const address = ring.nodes[index]?.address ?? '';
      const client = clients.get(address);
      if (client === undefined) throw new Error(`the ring has a node at ${address}, and there is none`);
      return client;
    });
  };
}

/**
 * The oracle of the simulation over the histories of real clients: what a client was answered, nothing else. It
 * sees no disk and no message.
 *
 * I1 What is kept of a key that is still written is its whole history; of one that is not, what can still be
 *    broken (ledger.ts, fold), and a few bytes a write.
 */
import { createContextCodec } from '../../services/core/codec/context.ts';
import { hashOfStorageKey } from '../../services/core/ring/storage-key.ts';
import type { CausalContext } from '../../services/core/versioning/causal-context.ts';
import { clockEntriesMax } from '../../services/core/versioning/record.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import { createDotCheck, type DotCheck } from '../oracle/checks/dots-name-one-write.ts';
import { createReadCheck, type ReadCheck } from '../oracle/checks/reads.ts';
import { createLedger, type Ledger } from '../oracle/ledger.ts';
import { lastWriterWins, storageKeyOf } from '../sim/keys.ts';
import { createLatestCheck } from './latest.ts';

export interface Oracle {
  readonly ledger: Ledger;
  readonly dots: DotCheck;
  readonly reads: ReadCheck;
  /** A context of the key, as a client gets it. */
  contextOf(key: string, bytes: Uint8Array): CausalContext;
  /** Nobody writes this key any more, and no write of it is under way. */
  fold(key: string): void;
  /** Keys whose clocks may have been cut, so that a covered value may show again. */
  readonly keysCut: number;
}

/** `wallAt`: what the wall clock said at a time of the ledger. */
export function createOracle(replicas: number, wallAt: (ms: number) => number): Oracle {
  const ledger = createLedger();
  const dots = createDotCheck(ledger);
  const contexts = createContextCodec(xxh64);
  const keysCut = new Set<string>();
  const latest = createLatestCheck({ ledger, wallAt, cut });

  /**
   * A clock is cut only where it has more entries than that, so many births have minted for the key. Each dot seen
   * tells one; each write whose dot nobody saw may have had one of its own.
   */
  function cut(key: string): boolean {
    if (keysCut.has(key)) return true;
    const actors = new Set<string>();
    let unseen = 0;
    for (const { dots, outcome } of ledger.writesOf(key)) {
      if (dots.size === 0 && outcome !== 'not applied') unseen++;
      for (const dot of dots) actors.add(dot.slice(0, dot.indexOf(':')));
    }
    if (actors.size + unseen <= clockEntriesMax) return false;
    keysCut.add(key);
    return true;
  }

  return {
    ledger,
    dots,
    reads: createReadCheck({
      ...{ ledger, dots, replicas, cut },
      latest: (key) => (lastWriterWins(key) ? latest : undefined),
    }),
    contextOf: (key, bytes) => contexts.decode(bytes, hashOfStorageKey(storageKeyOf(key))),
    fold(key) {
      cut(key);
      for (const write of ledger.fold(key)) dots.forget(write);
    },
    get keysCut() {
      return keysCut.size;
    },
  };
}

/** The checks, put together, and what they have found: the first violation ends the run. */

import { Malformed } from '../../services/core/codec/bytes.ts';
import type { RecordCodec } from '../../services/core/codec/record.ts';
import { parseStorageKey } from '../../services/core/ring/storage-key.ts';
import type { Birth } from '../../services/core/versioning/birth.ts';
import type { CausalContext } from '../../services/core/versioning/causal-context.ts';
import { emptyRecord, type KeyRecord } from '../../services/core/versioning/record.ts';
import { createDotCheck, type DotCheck } from '../oracle/checks/dots-name-one-write.ts';
import { createReadCheck, type ReadCheck } from '../oracle/checks/reads.ts';
import { createLedger, type Ledger, type WriteAttempt } from '../oracle/ledger.ts';
import { Violation } from '../oracle/violation.ts';
import { type BirthWatch, createBirthWatch, type NodeLife } from './births.ts';
import { type CutWatch, createCutWatch, dotsOf } from './checks/cuts.ts';
import { createHandoffCheck } from './checks/given-up-when-handed-over.ts';
import { createLastWriterCheck, type LastWriterCheck } from './checks/last-writer.ts';
import { createLosersCheck, type LosersCheck } from './checks/losers.ts';
import { createInTimeCheck, type InTimeCheck } from './checks/minted-in-time.ts';
import { createRequestCheck } from './checks/one-dot-a-request.ts';
import { lastWriterWins } from './keys.ts';
import type { Marks } from './marks.ts';

export interface Owed {
  readonly write: WriteAttempt;
  readonly dot: string;
  readonly home: string;
  /** The fallback had it in a memory only, which is gone; or has lost it, and the hint with it, with a part of its disk. */
  isLost(): boolean;
}

export interface Oracle {
  readonly ledger: Ledger;
  readonly dots: DotCheck;
  readonly reads: ReadCheck;
  readonly cuts: CutWatch;
  readonly lastWriter: LastWriterCheck;
  readonly losers: LosersCheck;
  readonly records: RecordCodec;
  /** A copy on a disk is not whole any more, see World.damaged. */
  damaged(node: string, key: string, elsewhere: boolean): void;
  /** All that the node had is gone. */
  diskLost(node: string): void;
  /** The node says that nobody has anything of this record, which was damaged. */
  lost(node: string, storageKey: Uint8Array): void;
  /** How often what only the node's copy of the key had may have been lost so. */
  lossesOf(node: string, key: string): number;
  /** A copy is gone from a disk, and with it whom it was owed to. */
  recordLost(node: string, key: string): void;
  /** How often. */
  recordsLostOf(node: string, key: string): number;
  /** A record on its way to the disk of a node. */
  stored(life: NodeLife, storageKey: Uint8Array, bytes: Uint8Array): void;
  /** A record that a node gives up: it does not belong there. */
  dropped(life: NodeLife, storageKey: Uint8Array): void;
  /** Acknowledged: a fallback has this write, and owes it to a home. */
  readonly owed: Owed[];
  readonly asked: InTimeCheck['asked'];
  readonly cancelled: InTimeCheck['cancelled'];
  /** A coordinator changes its own record: every state of it, those too that are never stored. */
  changed(
    life: NodeLife,
    storageKey: Uint8Array,
    before: KeyRecord,
    after: { readonly birth: Birth | undefined; readonly record: KeyRecord },
  ): void;
  /** A record that a node is about to merge into its own. */
  received(life: NodeLife, storageKey: Uint8Array, bytes: Uint8Array): void;
  /** A record in a message. */
  sent(storageKey: Uint8Array, bytes: Uint8Array, where: string): void;
  /** Runs a check, or anything in which one may be broken; the first violation is kept. */
  attempt(check: () => void): void;
  fail(error: unknown): void;
  readonly violation: Violation | undefined;
}

export interface OracleOptions {
  readonly records: RecordCodec;
  readonly replicas: number;
  readonly marks: Marks;
  /** How often a node has crashed: what only its memory had is gone then. */
  crashesOf(node: string): number;
  now(): number;
}

export function createOracle({ records, replicas, marks, crashesOf, now }: OracleOptions): Oracle {
  const ledger = createLedger();
  const dots = createDotCheck(ledger);
  const births: BirthWatch = createBirthWatch(marks);
  const requests = createRequestCheck();
  const inTime = createInTimeCheck();
  const cuts = createCutWatch(now, marks);
  /** By node and key. */
  const losses = new Map<string, number>();
  /** The same of records that are gone, whoever else has what was in them. */
  const recordsLost = new Map<string, number>();
  /** Nodes whose disk is lost. */
  const lostDisks = new Set<string>();
  const tombstones = new Map<string, CausalContext>();
  const lossesOf = (node: string, key: string) => (losses.get(`${node} ${key}`) ?? 0) + (lostDisks.has(node) ? 1 : 0);
  const handoffs = createHandoffCheck(
    (key, dot) => cuts.forgotten(key, dot) || cuts.letGo(key, dot),
    (node, key) => lossesOf(node, key) > 0,
  );
  const lastWriter = createLastWriterCheck({ ledger, marks, now, cut: cuts.forgotten });
  const losers = createLosersCheck({ ledger, marks, crashesOf });
  let violation: Violation | undefined;

  function open(bytes: Uint8Array, where: string): KeyRecord {
    if (bytes.length === 0) return emptyRecord;
    try {
      return records.decode(bytes);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      throw new Violation('P12', `${where} is no record: ${error.message}`);
    }
  }

  const oracle: Oracle = {
    ledger,
    asked: inTime.asked,
    cancelled: inTime.cancelled,
    owed: [],
    dots,
    cuts,
    lastWriter,
    losers,
    records,
    damaged(node, key, elsewhere) {
      cuts.dropped({ node }, key);
      if (elsewhere) return;
      const name = `${node} ${key}`;
      losses.set(name, (losses.get(name) ?? 0) + 1);
    },
    diskLost: (node) => void lostDisks.add(node),
    lost(node, storageKey) {
      const key = keyOf(storageKey);
      if (lossesOf(node, key) > 0) return;
      // All homes had agreed to let go of it, this one by what it had in memory; the others have, and say so.
      const tombstone = tombstones.get(`${node} ${key}`);
      if (tombstone !== undefined && [...dotsOf(tombstone)].every((dot) => cuts.letGo(key, dot))) return;
      oracle.fail(new Violation('P12', `${node} has lost ${key}, of which another home has all`, 'lost'));
    },
    lossesOf,
    recordLost(node, key) {
      recordsLost.set(`${node} ${key}`, oracle.recordsLostOf(node, key) + 1);
    },
    recordsLostOf: (node, key) => recordsLost.get(`${node} ${key}`) ?? 0,
    reads: createReadCheck({
      ...{ ledger, dots, replicas, cut: cuts.forgotten },
      latest: (key) => (lastWriterWins(key) ? lastWriter : undefined),
    }),
    stored(life, storageKey, bytes) {
      oracle.attempt(() => {
        const where = `a record on the disk of ${life.node}`;
        const { birth, owed, bytes: encoded } = records.decodeStored(bytes);
        const record = open(encoded, where);
        const key = keyOf(storageKey);
        dots.record(key, record, where);
        if (record.siblings.length === 0) tombstones.set(`${life.node} ${key}`, record.clock);
        else tombstones.delete(`${life.node} ${key}`);
        cuts.holds(life, key, record);
        requests.stored(life, key, birth, record);
        handoffs.stored(life, key, owed, record);
        if (lastWriterWins(key)) losers.held(life.node, key, record);
        if (birth !== undefined) births.stored(life, key, birth, record.clock);
      });
    },
    dropped(life, storageKey) {
      const tombstone = tombstones.get(`${life.node} ${keyOf(storageKey)}`);
      if (tombstone !== undefined) {
        lastWriter.letGo(keyOf(storageKey), tombstone);
        cuts.wentWith(keyOf(storageKey), tombstone);
      }
      requests.dropped(life, keyOf(storageKey));
      oracle.attempt(() => handoffs.dropped(life, keyOf(storageKey)));
      cuts.dropped(life, keyOf(storageKey));
    },
    changed(life, storageKey, before, after) {
      const key = keyOf(storageKey);
      for (const record of [before, after.record]) cuts.holds(life, key, record);
      oracle.attempt(() => inTime.changed(life, after.birth, before, after.record, now()));
      if (!lastWriterWins(key)) return;
      losers.held(life.node, key, before);
      oracle.attempt(() => lastWriter.changed(key, after.birth, before, after.record));
    },
    received(life, storageKey, bytes) {
      oracle.attempt(() => cuts.learns(life, keyOf(storageKey), open(bytes, 'a record that was received').clock));
    },
    sent(storageKey, bytes, where) {
      oracle.attempt(() => dots.record(keyOf(storageKey), open(bytes, where), where));
    },
    attempt(check) {
      if (violation !== undefined) return;
      try {
        check();
      } catch (error) {
        oracle.fail(error);
      }
    },
    fail(error) {
      if (violation !== undefined) return;
      if (error instanceof Violation) violation = error;
      else violation = new Violation('no bug', error instanceof Error ? (error.stack ?? error.message) : String(error));
    },
    get violation() {
      return violation;
    },
  };
  return oracle;
}

function keyOf(storageKey: Uint8Array): string {
  return Buffer.from(parseStorageKey(storageKey).key).toString();
}

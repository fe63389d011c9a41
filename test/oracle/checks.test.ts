/**
 * The oracle's own controls: histories made by hand, each with one broken promise that must be found, beside one
 * that is whole. What is found by name here is what the nemesis counts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type CausalContext,
  type Dot,
  emptyContext,
  join,
  parseDot,
  withDot,
} from '../../services/core/versioning/causal-context.ts';
import { checkCart } from './checks/carts.ts';
import { createDotCheck } from './checks/dots-name-one-write.ts';
import { createReadCheck } from './checks/reads.ts';
import { createLedger, type WriteAttempt } from './ledger.ts';
import { type Finding, Violation } from './violation.ts';

const replicas = 3;
const dotA = '000000000000000a:1';
const dotB = '000000000000000b:1';
const dotC = '000000000000000c:1';

function history() {
  const ledger = createLedger();
  const dots = createDotCheck(ledger);
  const reads = createReadCheck({ ledger, dots, replicas, cut: () => false });
  let now = 0;

  function begin(key: string, seen: readonly WriteAttempt[] = [], more: { item?: string; items?: string[] } = {}) {
    const { item, items = [] } = more;
    const known = seen.map(({ context, dots }) => [...dots].reduce(plus, context));
    const context = known.reduce(join, emptyContext);
    const replaces = new Set(seen);
    return ledger.begin({
      ...{ kind: 'put', key, client: 'somebody', w: 2, requestId: undefined, context, replaces, item, items },
      startedAt: now++,
    });
  }

  function acknowledge(write: WriteAttempt, dot: string, homes = 2): WriteAttempt {
    dots.named(dot, write, 'its receipt');
    ledger.end(write, 'acknowledged', now++, homes);
    return write;
  }

  /** A get of the key that answers with these. */
  function read(key: string, found: readonly (readonly [dot: string, value: Buffer | string])[], r = 2, over = false) {
    const siblings = found.map(([dot, value]) => ({ dot, value: Buffer.from(value) }));
    return reads.answered({ key, r, startedAt: now++, siblings, where: 'a get', faultsAreOver: over });
  }

  return { ledger, dots, begin, acknowledge, read };
}

function plus(context: CausalContext, dot: string): CausalContext {
  return withDot(context, parseDot(dot) as Dot);
}

function breaks(promise: string, finding: Finding, check: () => void): void {
  assert.throws(
    check,
    (error) => error instanceof Violation && error.promise === promise && error.finding === finding,
    `${promise}, ${finding}`,
  );
}

const bytesOf = ({ value }: WriteAttempt) => value as Buffer;

test('a history in which all is well is found to be well', () => {
  const { begin, acknowledge, read } = history();
  const first = acknowledge(begin('k'), dotA);
  assert.deepEqual([...read('k', [[dotA, bytesOf(first)]])], [first]);
  const second = acknowledge(begin('k', [first]), dotB);
  const blind = acknowledge(begin('k'), dotC);
  read('k', [
    [dotB, bytesOf(second)],
    [dotC, bytesOf(blind)],
  ]);
});

test('an acknowledged write that a read must meet and does not show is lost', () => {
  const { begin, acknowledge, read } = history();
  acknowledge(begin('k'), dotA);
  breaks('P3', 'lost', () => read('k', []));
});

test('while faults go on a read that need not meet a write may miss it; afterwards it may not', () => {
  const { begin, acknowledge, read } = history();
  acknowledge(begin('k'), dotA, 1);
  read('k', [], 2);
  breaks('P3', 'lost', () => read('k', [], 2, true));
});

test('a write is lost too where only a put that was never applied could have replaced it', () => {
  const { ledger, begin, acknowledge, read } = history();
  const first = acknowledge(begin('k'), dotA);
  ledger.end(begin('k', [first]), 'unknown', 99);
  breaks('P3', 'lost', () => read('k', []));
});

test('a put of unknown outcome that is there explains why the one before it is not', () => {
  const { ledger, begin, acknowledge, read } = history();
  const first = acknowledge(begin('k'), dotA);
  const second = begin('k', [first]);
  ledger.end(second, 'unknown', 99);
  read('k', [[dotB, bytesOf(second)]]);
  read('k', [[dotA, bytesOf(first)]]);
});

test('a value that an acknowledged write covered and that is read again is resurrected', () => {
  const { begin, acknowledge, read } = history();
  const first = acknowledge(begin('k'), dotA);
  const second = acknowledge(begin('k', [first]), dotB);
  breaks('P4', 'resurrected', () => {
    read('k', [
      [dotA, bytesOf(first)],
      [dotB, bytesOf(second)],
    ]);
  });
});

test('a value that nobody wrote, or wrote to another key, is unexplained', () => {
  const { begin, acknowledge, read } = history();
  const elsewhere = acknowledge(begin('elsewhere'), dotA);
  breaks('P4', 'unexplained', () => read('k', [[dotB, '#77']]));
  breaks('P4', 'unexplained', () => read('k', [[dotB, 'rubbish']]));
  breaks('P4', 'unexplained', () => read('k', [[dotA, bytesOf(elsewhere)]]));
});

test('a write that is there twice, or that was said to be not applied, is unexplained', () => {
  const { ledger, begin, acknowledge, read } = history();
  const first = acknowledge(begin('k'), dotA);
  breaks('P5', 'unexplained', () => {
    read('k', [
      [dotA, bytesOf(first)],
      [dotB, bytesOf(first)],
    ]);
  });
  const second = begin('k');
  ledger.end(second, 'not applied', 99);
  breaks('P5', 'unexplained', () => {
    read('k', [
      [dotA, bytesOf(first)],
      [dotC, bytesOf(second)],
    ]);
  });
});

test('a dot that names two writes is found', () => {
  const { begin, acknowledge } = history();
  acknowledge(begin('k'), dotA);
  breaks('birth rule', 'other', () => acknowledge(begin('k'), dotA));
});

test('an item that is in no sibling of its cart is lost, though the write was replaced', () => {
  const { ledger, begin, acknowledge } = history();
  const first = acknowledge(begin('cart', [], { item: 'pear', items: ['pear'] }), dotA);
  const second = acknowledge(begin('cart', [first], { item: 'plum', items: ['plum'] }), dotB);
  breaks('P3', 'lost', () => checkCart(ledger, 'cart', [bytesOf(second)]));
});

test('a history that was folded is checked as before', () => {
  const { ledger, dots, begin, acknowledge, read } = history();
  const first = acknowledge(begin('cart', [], { item: 'pear', items: ['pear'] }), dotA);
  const second = acknowledge(begin('cart', [first], { item: 'plum', items: ['pear', 'plum'] }), dotB);
  const refused = begin('cart');
  ledger.end(refused, 'not applied', 99);
  const dropped = ledger.fold('cart');
  for (const write of dropped) dots.forget(write);

  assert.deepEqual(dropped, [first, refused]);
  assert.deepEqual(ledger.writesOf('cart'), [second]);
  read('cart', [[dotB, bytesOf(second)]]);
  checkCart(ledger, 'cart', [bytesOf(second)]);
  breaks('P3', 'lost', () => read('cart', []));
  breaks('P3', 'lost', () => checkCart(ledger, 'cart', [Buffer.from('#1\nplum')]));
  breaks('P4', 'resurrected', () => {
    read('cart', [
      [dotA, bytesOf(first)],
      [dotB, bytesOf(second)],
    ]);
  });
  breaks('P5', 'unexplained', () => {
    read('cart', [
      [dotB, bytesOf(second)],
      [dotC, bytesOf(refused)],
    ]);
  });
  breaks('P4', 'unexplained', () => read('other', [[dotA, bytesOf(first)]]));
});

test('a fold keeps what a write of unknown outcome may have replaced', () => {
  const { ledger, begin, acknowledge, read } = history();
  const first = acknowledge(begin('k'), dotA);
  const second = begin('k', [first]);
  ledger.end(second, 'unknown', 99);
  assert.deepEqual(ledger.fold('k'), []);
  read('k', [[dotA, bytesOf(first)]]);
  read('k', [[dotB, bytesOf(second)]]);
  breaks('P3', 'lost', () => read('k', []));
});

test('a read that shows a dropped write explains by it why the one before is not there', () => {
  const { ledger, dots, begin, acknowledge, read } = history();
  const onAll = acknowledge(begin('k'), dotA, 3);
  const onTwo = acknowledge(begin('k', [onAll]), dotB, 2);
  const last = acknowledge(begin('k', [onTwo]), dotC, 2);
  for (const write of ledger.fold('k')) dots.forget(write);
  assert.deepEqual(ledger.writesOf('k'), [onAll, last]);
  read('k', [[dotB, bytesOf(onTwo)]], 1);
  breaks('P3', 'lost', () => read('k', [], 1));
});

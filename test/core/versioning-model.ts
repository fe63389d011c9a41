/**
 * What the tests of versioning share: reachable states, made by random histories of one key on some
 * replicas, and a dumb model of what records mean, on plain sets of printed dots.
 *
 * A history uses the real mint, put, remove, merge and cut. Its clients know only what they were shown, so
 * that the oracle can say which values must not be lost, whatever the contexts contain.
 */
import fc from 'fast-check';
import type { Birth } from '../../services/core/versioning/birth.ts';
import { mint } from '../../services/core/versioning/birth.ts';
import { type CausalContext, type Dot, emptyContext, printDot } from '../../services/core/versioning/causal-context.ts';
import {
  answerContext,
  cut,
  emptyRecord,
  type KeyRecord,
  merge,
  put,
  remove,
  type Sibling,
} from '../../services/core/versioning/record.ts';

export const replicaCount = 4;
const clientCount = 4;

/** One step; numbers are taken modulo what there is. */
export interface Step {
  readonly kind: 'put' | 'blindPut' | 'delete' | 'get' | 'send' | 'deliver' | 'crash' | 'lose' | 'drop' | 'restart';
  readonly replica: number;
  readonly other: number;
  readonly client: number;
}

const kinds: readonly (readonly [Step['kind'], number])[] = [
  ['put', 8],
  ['blindPut', 4],
  ['get', 7],
  ['delete', 2],
  ['send', 5],
  ['deliver', 5],
  ['crash', 3],
  ['lose', 1],
  ['drop', 1],
  ['restart', 1],
];

export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.oneof(...kinds.map(([kind, weight]) => ({ weight, arbitrary: fc.constant(kind) }))),
    replica: fc.nat(replicaCount - 1),
    other: fc.nat(200),
    client: fc.nat(clientCount - 1),
  }),
  { minLength: 5, maxLength: 70, size: 'max' },
);

/** One put or delete as it happened. */
export interface Write {
  readonly before: KeyRecord;
  readonly after: KeyRecord;
  readonly context: CausalContext;
  readonly dot: Dot;
  /** Undefined for a delete. */
  readonly sibling: Sibling | undefined;
  readonly answer: CausalContext;
  /** What `cut` made of `after`. */
  readonly kept: KeyRecord;
  readonly actor: bigint;
  readonly entriesCut: number;
}

export interface History {
  readonly writes: readonly Write[];
  /** Every record that any replica ever held. */
  readonly states: readonly KeyRecord[];
  /** Every context that any client ever had. */
  readonly contexts: readonly CausalContext[];
  /** Printed dots of values that no client which had seen them has replaced or removed. */
  readonly mustLive: ReadonlySet<string>;
  /** How fast-check prints a history that breaks a law. */
  [fc.toStringMethod](): string;
}

interface Replica {
  record: KeyRecord;
  birth: Birth | undefined;
  lineage: bigint;
  /** What a crash that loses unsynced writes goes back to. */
  synced: { record: KeyRecord; birth: Birth | undefined };
}

interface Client {
  context: CausalContext;
  /** Printed dots of the values it has been shown or has written since it last began anew. */
  seen: Set<string>;
}

/** 64 bits that look random, so that the order of actors is not the order of time. */
function scatter(n: number): bigint {
  return BigInt.asUintN(64, BigInt(n) * 0x9e37_79b9_7f4a_7c15n + 0x1234_5678n);
}

/** `entriesMax`: what `cut` is told; small values make it work hard. */
export function run(history: readonly Step[], entriesMax: number): History {
  let drawn = 0;
  const draw = () => scatter(++drawn);
  const replicas: Replica[] = Array.from({ length: replicaCount }, () => {
    return {
      record: emptyRecord,
      birth: undefined,
      lineage: draw(),
      synced: { record: emptyRecord, birth: undefined },
    };
  });
  const clients: Client[] = Array.from({ length: clientCount }, () => ({ context: emptyContext, seen: new Set() }));
  const messages: KeyRecord[] = [];
  const writes: Write[] = [];
  const states: KeyRecord[] = [];
  const contexts: CausalContext[] = [];
  const values = new Set<string>();
  const replaced = new Set<string>();
  /** Dots that a crash took before anybody else had them; an acknowledged one never is. */
  const lost = new Set<string>();

  function write(replica: Replica, client: Client, context: CausalContext, seen: Set<string>, isDelete: boolean): void {
    const before = replica.record;
    const { dot, birth } = mint(replica.birth, before.clock, replica.lineage, draw);
    const value = new TextEncoder().encode(`value of ${printDot(dot)}`);
    // The wall clock runs backwards: it must decide nothing.
    const writtenAtMs = 1_000_000 - writes.length;
    const sibling = isDelete ? undefined : { dot, requestId: new Uint8Array(0), writtenAtMs, value };
    const after = sibling === undefined ? remove(before, context, dot) : put(before, context, sibling);
    const { record: kept, entriesCut } = cut(before, after, birth.actor, entriesMax);
    const answer = answerContext(context, dot);
    writes.push({ before, after, context, dot, sibling, answer, kept, actor: birth.actor, entriesCut });
    for (const name of seen) replaced.add(name);
    client.context = answer;
    client.seen = new Set(seen);
    if (sibling !== undefined) {
      values.add(printDot(dot));
      client.seen.add(printDot(dot));
    }
    replica.record = kept;
    replica.birth = birth;
    contexts.push(answer);
  }

  for (const step of history) {
    const replica = replicas[step.replica] as Replica;
    const client = clients[step.client] as Client;
    switch (step.kind) {
      case 'put':
      case 'delete':
        write(replica, client, client.context, client.seen, step.kind === 'delete');
        break;
      case 'blindPut':
        write(replica, client, emptyContext, new Set(), false);
        break;
      case 'get': {
        const record = merge(replica.record, (replicas[step.other % replicaCount] as Replica).record);
        // What a client gets has no heights (codec/context.ts).
        client.context = record.clock.map((entry) => ({ ...entry, height: 0 }));
        client.seen = new Set(record.siblings.map(({ dot }) => printDot(dot)));
        contexts.push(client.context);
        break;
      }
      case 'send':
        // What is sent is in the overlay, and synced before anybody is told (record-store.ts).
        messages.push(replica.record);
        replica.synced = { record: replica.record, birth: replica.birth };
        break;
      case 'deliver': {
        const message = messages[step.other % messages.length];
        if (message !== undefined) {
          const merged = merge(replica.record, message);
          replica.record = cut(replica.record, merged, replica.birth?.actor, 2 * entriesMax).record;
        }
        break;
      }
      case 'crash':
        replica.lineage = draw();
        break;
      case 'lose': {
        for (const { dot } of replica.record.siblings) {
          const name = printDot(dot);
          const elsewhere = [
            ...messages,
            replica.synced.record,
            ...replicas.filter((r) => r !== replica).map((r) => r.record),
          ];
          if (!elsewhere.some((record) => record.siblings.some((other) => printDot(other.dot) === name)))
            lost.add(name);
        }
        replica.record = replica.synced.record;
        replica.birth = replica.synced.birth;
        replica.lineage = draw();
        break;
      }
      case 'drop':
        // Handed off: it is somewhere else now.
        messages.push(replica.record);
        replica.record = emptyRecord;
        replica.birth = undefined;
        replica.synced = { record: emptyRecord, birth: undefined };
        break;
      case 'restart':
        // A clean stop keeps the lineage, and so the birth.
        replica.synced = { record: replica.record, birth: replica.birth };
        break;
    }
    states.push(replica.record);
  }
  states.push(...messages, ...replicas.map(({ record }) => record));
  const mustLive = new Set([...values].filter((name) => !replaced.has(name) && !lost.has(name)));
  const printed = history.map(({ kind, replica, other, client }) => `${kind}(${replica},${other},${client})`).join(' ');
  return { writes, states, contexts, mustLive, [fc.toStringMethod]: () => `cut at ${entriesMax}: ${printed}` };
}

export type Dots = ReadonlySet<string>;

/** Every dot of the context, one by one: for small counters. */
export function dotsOf(context: CausalContext): Set<string> {
  const dots = new Set<string>();
  for (const { actor, upTo, detached } of context) {
    for (let counter = 1; counter <= upTo; counter++) dots.add(printDot({ actor, counter }));
    for (const counter of detached) dots.add(printDot({ actor, counter }));
  }
  return dots;
}

export function siblingDots(record: KeyRecord): Set<string> {
  return new Set(record.siblings.map(({ dot }) => printDot(dot)));
}

export function union(a: Dots, b: Dots): Set<string> {
  return new Set([...a, ...b]);
}

export function minus(a: Dots, b: Dots): Set<string> {
  return new Set([...a].filter((dot) => !b.has(dot)));
}

export function isWithin(part: Dots, whole: Dots): boolean {
  return [...part].every((dot) => whole.has(dot));
}

/** The definition of merge, on sets. */
export function mergeSets(a: KeyRecord, b: KeyRecord): { clock: Dots; siblings: Dots } {
  const [clockA, clockB] = [dotsOf(a.clock), dotsOf(b.clock)];
  const [livingA, livingB] = [siblingDots(a), siblingDots(b)];
  const siblings = new Set<string>();
  for (const dot of livingA) if (livingB.has(dot) || !clockB.has(dot)) siblings.add(dot);
  for (const dot of livingB) if (livingA.has(dot) || !clockA.has(dot)) siblings.add(dot);
  return { clock: union(clockA, clockB), siblings };
}

/** What breaks I1 and I2 of causal-context.ts; undefined where nothing does. */
export function shapeProblem(context: CausalContext): string | undefined {
  let lastActor = -1n;
  for (const { actor, upTo, detached, height } of context) {
    if (actor <= lastActor) return `actor ${actor} after ${lastActor}`;
    lastActor = actor;
    if (upTo === 0 && detached.length === 0) return `the entry of ${actor} is empty`;
    if (!(Number.isSafeInteger(height) && height >= 0)) return `height ${height}`;
    let least = upTo + 2;
    for (const counter of detached) {
      if (!(Number.isSafeInteger(counter) && counter >= least)) return `detached ${detached} above ${upTo}`;
      least = counter + 1;
    }
  }
  return undefined;
}

/** What breaks I1 and I2 of record.ts, or the shape of its clock. */
export function recordProblem(record: KeyRecord): string | undefined {
  const shape = shapeProblem(record.clock);
  if (shape !== undefined) return shape;
  const names = record.siblings.map(({ dot }) => printDot(dot));
  if (names.some((name, i) => i > 0 && name.slice(0, 16) < (names[i - 1] as string).slice(0, 16)))
    return `order ${names}`;
  if (new Set(names).size !== names.length) return `a dot twice in ${names}`;
  for (const { dot } of record.siblings) {
    const entry = record.clock.find(({ actor }) => actor === dot.actor);
    const known = entry !== undefined && (dot.counter <= entry.upTo || entry.detached.includes(dot.counter));
    if (!known) return `the clock has not ${printDot(dot)}`;
  }
  return undefined;
}

/** A record whose siblings carry request ids, some of them alike. */
export function withRequestIds(record: KeyRecord, idOf: (dot: Dot) => Uint8Array): KeyRecord {
  return { clock: record.clock, siblings: record.siblings.map((s) => ({ ...s, requestId: idOf(s.dot) })) };
}

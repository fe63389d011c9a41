/**
 * The network: what becomes of each message between two endpoints (nodes and clients, by name).
 *
 * Owns delay, loss, duplication, what is blocked, and who listens. Does not own connections: see wire.ts.
 *
 * I1 Messages are bytes, copied when they are sent: no object of one endpoint is ever seen by another.
 * I2 Messages overtake each other freely; one may arrive long after its sender has crashed.
 * I3 What is blocked when a message would arrive is lost, as is what reaches an endpoint that is down.
 * I4 Whoever dials an endpoint by its name reaches who has its address. That is another one while the name service is behind.
 */
import type { Marks } from './marks.ts';
import type { SeededRandom } from './random.ts';
import type { Scheduler } from './scheduler.ts';

export type Channel = 'replica' | 'session' | 'exchange' | 'ring';

/** Answers a message; never rejects. What never resolves was never answered. */
export type Serve = (channel: Channel, message: Uint8Array) => Promise<Uint8Array>;

export interface NetworkConditions {
  readonly delayMs: number;
  /** Of one message in how many. */
  readonly loss: number;
  readonly duplication: number;
  /** Of messages that take far longer than others. */
  readonly late: number;
}

export interface Network {
  listen(name: string, serve: Serve): void;
  /** Its connections break, which the others see within `noticeMsMax`. */
  silence(name: string): void;
  listening(name: string): boolean;
  /** Calls `arrived` when the message gets through, twice for one that is duplicated; `lost` when it does not. */
  carry(from: string, to: string, message: Uint8Array, options: CarryOptions): void;
  serve(name: string): Serve | undefined;
  /** The address that `name` leads to is that of `other`, until the function returned is called. */
  lead(name: string, other: string): () => void;
  /** Who has the address that `name` leads to. */
  at(name: string): string;
  /** Nothing gets through from `from` to `to` any more, until the function returned is called. */
  block(from: string, to: string): () => void;
  blocked(from: string, to: string): boolean;
  /** Everything to and from this endpoint takes `factor` times as long, until the function returned is called. */
  slow(name: string, factor: number): () => void;
  /**
   * Nothing to or from this endpoint arrives, though its connections stay as they are, until the function returned
   * is called: a process that is stopped.
   */
  hold(name: string): () => void;
  /** Breaks the connections between two endpoints, without anything being wrong. */
  reset(from: string, to: string): void;
  /** Whatever may have broken a connection, or made a new one possible. */
  onChange(listener: (change: LinkChange) => void): () => void;
}

export interface LinkChange {
  readonly what: 'up' | 'down' | 'blocked' | 'unblocked' | 'reset';
  readonly endpoints: readonly string[];
}

export interface CarryOptions {
  readonly duplicable: boolean;
  arrived(message: Uint8Array): void;
  lost(): void;
}

export interface NetworkOptions {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly marks: Marks;
  conditions(): NetworkConditions;
}

/** Longer than a partition takes to go from one owner to the next. */
const lateMs = { min: 20, max: 2_000 };

export function createNetwork({ scheduler, random, marks, conditions }: NetworkOptions): Network {
  const listeners = new Map<string, Serve>();
  const blocks = new Map<string, number>();
  const slowness = new Map<string, number>();
  /** What waits for an endpoint that is held. */
  const held = new Map<string, (() => void)[]>();
  const watchers = new Set<(change: LinkChange) => void>();
  const leads = new Map<string, string>();

  const link = (from: string, to: string) => `${from}>${to}`;
  const blocked = (from: string, to: string) => (blocks.get(link(from, to)) ?? 0) > 0;
  const tell = (change: LinkChange) => {
    for (const watch of [...watchers]) watch(change);
  };

  function delay(from: string, to: string): number {
    const factor = Math.max(slowness.get(from) ?? 1, slowness.get(to) ?? 1);
    return factor * (0.05 + random.around(conditions().delayMs));
  }

  return {
    listen(name, serve) {
      listeners.set(name, serve);
      tell({ what: 'up', endpoints: [name] });
    },
    silence(name) {
      if (listeners.delete(name)) tell({ what: 'down', endpoints: [name] });
    },
    listening: (name) => listeners.has(name),
    serve: (name) => listeners.get(name),
    lead(name, other) {
      leads.set(name, other);
      tell({ what: 'up', endpoints: [name] });
      return () => {
        leads.delete(name);
        tell({ what: 'down', endpoints: [name] });
      };
    },
    at: (name) => leads.get(name) ?? name,
    blocked,

    carry(from, to, message, { duplicable, arrived, lost }) {
      const bytes = Uint8Array.from(message);
      const { loss, duplication } = conditions();
      if (random.chance(loss)) {
        marks.add('a message was lost');
        lost();
        return;
      }
      const arrive = () => {
        const waiting = held.get(from) ?? held.get(to);
        if (waiting !== undefined) {
          waiting.push(arrive);
          return;
        }
        if (!blocked(from, to)) return arrived(Uint8Array.from(bytes));
        marks.add(
          blocked(to, from) ? 'a message was lost to a partition' : 'a message was lost to a one-way partition',
        );
        lost();
      };
      const first =
        delay(from, to) +
        (conditions().late > 0 && random.chance(conditions().late) ? random.between(lateMs.min, lateMs.max) : 0);
      scheduler.after(first, arrive);
      if (!duplicable || !random.chance(duplication)) return;
      scheduler.after(first + random.around(random.chance(0.3) ? 1_000 : 20), () => {
        if (blocked(from, to)) return;
        marks.add('a replica write arrived twice');
        arrived(Uint8Array.from(bytes));
      });
    },

    block(from, to) {
      const name = link(from, to);
      blocks.set(name, (blocks.get(name) ?? 0) + 1);
      tell({ what: 'blocked', endpoints: [from, to] });
      return () => {
        blocks.set(name, (blocks.get(name) ?? 0) - 1);
        tell({ what: 'unblocked', endpoints: [from, to] });
      };
    },

    slow(name, factor) {
      slowness.set(name, factor);
      return () => slowness.delete(name);
    },

    hold(name) {
      const waiting = held.get(name) ?? [];
      held.set(name, waiting);
      return () => {
        held.delete(name);
        for (const arrive of waiting.splice(0)) scheduler.after(delay(name, name), arrive);
      };
    },

    reset: (from, to) => tell({ what: 'reset', endpoints: [from, to] }),

    onChange(listener) {
      watchers.add(listener);
      return () => watchers.delete(listener);
    },
  };
}

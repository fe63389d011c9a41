/**
 * Handshakes that came to nothing, because the two ends are of different clusters, are not who they were taken for, or do
 * not do the same: counted each time, and logged once for each other end and reason.
 *
 * I1 What was accepted in between is logged again: it is another story.
 * I2 At most `rememberedMax` are told apart. Beyond, as when a stranger draws a new name each time, a line a second is logged.
 */
import type { Log, Metrics } from '../core/ports.ts';
import { sparingly } from './logging.ts';

const rememberedMax = 256;

export type RefusedBy = 'this process' | 'the other one';

export interface Refusals {
  /** `other`: an id or address. */
  refused(other: string, refusal: string, by: RefusedBy, fields?: object): void;
  accepted(other: string): void;
}

export function createRefusals(protocol: 'gossip' | 'replication', log: Log, metrics: Metrics): Refusals {
  const countOf = (by: RefusedBy) => {
    return metrics.counter(
      'cartwheel_handshakes_refused_total',
      'Handshakes refused, by this process or by the other one: of another cluster, or with other settings.',
      { protocol, by },
    );
  };
  const counts = { 'this process': countOf('this process'), 'the other one': countOf('the other one') };
  const strangers = sparingly(log);
  /** By who is at the other end. */
  const logged = new Map<string, string>();

  return {
    refused(other, refusal, by, fields = {}) {
      counts[by].add(1);
      const story = `${by}: ${refusal}`;
      if (logged.get(other) === story) return;
      const line = { other, by, refusal, ...fields };
      const isKnown = logged.has(other);
      if (isKnown || logged.size < rememberedMax) {
        logged.set(other, story);
        log.warn(line, `a handshake of ${protocol} was refused`);
      } else strangers.warn(line, `a handshake of ${protocol} was refused`);
    },
    accepted: (other) => logged.delete(other),
  };
}

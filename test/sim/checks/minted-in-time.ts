/**
 * P5, against the clock: nobody makes a write for an attempt that was given up before, for want of an answer in time, or
 * that the node has been told to give up.
 * Another attempt may have been acknowledged since, and others may have written after that: where the last writer
 * wins, such a late one would beat them.
 */
import type { Birth } from '../../../services/core/versioning/birth.ts';
import { contains, printDot } from '../../../services/core/versioning/causal-context.ts';
import type { KeyRecord } from '../../../services/core/versioning/record.ts';
import { Violation } from '../../oracle/violation.ts';
import type { NodeLife } from '../births.ts';

export interface InTimeCheck {
  /** A put was sent to a node as the operation `id`, by somebody who waits until then. */
  asked(node: string, requestId: Uint8Array, id: bigint, until: number): void;
  /** The node has been told now that nobody waits for the operation any more. */
  cancelled(node: string, requestId: Uint8Array, id: bigint, now: number): void;
  /** A node has made `after` of its record `before`, under `birth`. */
  changed(life: NodeLife, birth: Birth | undefined, before: KeyRecord, after: KeyRecord, now: number): void;
}

export function createInTimeCheck(): InTimeCheck {
  /** By node and request, of each operation. */
  const waitsUntil = new Map<string, Map<bigint, number>>();
  const nameOf = (node: string, requestId: Uint8Array) => `${node} ${Buffer.from(requestId).toString('hex')}`;

  return {
    asked(node, requestId, id, until) {
      const name = nameOf(node, requestId);
      waitsUntil.set(name, (waitsUntil.get(name) ?? new Map<bigint, number>()).set(id, until));
    },
    cancelled(node, requestId, id, now) {
      waitsUntil.get(nameOf(node, requestId))?.set(id, now);
    },
    changed({ node, lineage }, birth, before, after, now) {
      // Under a birth of an older lineage it mints nothing: such a dot was minted before a crash, and comes back.
      if (birth?.lineage !== lineage) return;
      for (const { dot, requestId } of after.siblings) {
        if (dot.actor !== birth.actor || contains(before.clock, dot)) continue;
        const asked = waitsUntil.get(nameOf(node, requestId));
        const until = asked === undefined ? now : Math.max(...asked.values());
        if (now <= until) continue;
        const late = `${printDot(dot)} ${(now - until).toFixed(1)} ms after everybody who had asked for it gave it up`;
        throw new Violation('P5', `${node} made ${late}`);
      }
    },
  };
}

/**
 * P5, on the coordinator itself: while its own copy holds the sibling of a request, it mints no second dot
 * for that request.
 *
 * Looks at what one life of a node writes to its disk, one state of a record after the other. Two attempts
 * that met two coordinators, and met afterwards, are no violation.
 */
import type { Birth } from '../../../services/core/versioning/birth.ts';
import { printDot } from '../../../services/core/versioning/causal-context.ts';
import type { KeyRecord, Sibling } from '../../../services/core/versioning/record.ts';
import { Violation } from '../../oracle/violation.ts';
import type { NodeLife } from '../births.ts';

export interface RequestCheck {
  stored(life: NodeLife, key: string, birth: Birth | undefined, record: KeyRecord): void;
  dropped(life: NodeLife, key: string): void;
}

export function createRequestCheck(): RequestCheck {
  const latest = new Map<string, { readonly life: number; readonly siblings: readonly Sibling[] }>();
  return {
    dropped(life, key) {
      latest.delete(`${life.node} ${key}`);
    },
    stored(life, key, birth, { siblings }) {
      const name = `${life.node} ${key}`;
      const before = latest.get(name);
      latest.set(name, { life: life.number, siblings });
      // Under a birth of an older lineage it mints nothing: such a dot was minted before a crash, and comes back.
      if (before?.life !== life.number || birth?.lineage !== life.lineage) return;
      for (const minted of siblings) {
        if (minted.dot.actor !== birth.actor || minted.requestId.length === 0 || holds(before.siblings, minted))
          continue;
        const twin = siblings.find((other) => other !== minted && sameRequest(other, minted));
        if (twin === undefined || !holds(before.siblings, twin)) continue;
        const dots = `${printDot(minted.dot)}, and its copy held ${printDot(twin.dot)} of the same request`;
        throw new Violation('P5', `${life.node} minted ${dots} on ${key}`);
      }
    },
  };
}

function holds(siblings: readonly Sibling[], { dot }: Sibling): boolean {
  return siblings.some((other) => printDot(other.dot) === printDot(dot));
}

function sameRequest(a: Sibling, b: Sibling): boolean {
  return Buffer.compare(a.requestId, b.requestId) === 0;
}

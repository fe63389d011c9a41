/**
 * Who has one write for which home, as it goes on: the selection at its start, and who took the place of whom.
 *
 * I1 A home is met once it has acknowledged itself, or a node that stands in for it has.
 */
import type { Selection } from '../core/quorum/sloppy.ts';

export interface StandIns {
  /** The home that the node stands in for; undefined for a home. */
  homeOf(nodeId: string): string | undefined;
  acknowledged(nodeId: string): void;
  /** Who is left to be asked, in order. */
  spare(): readonly string[];
  /**
   * Who takes the place of a node that failed or is silent: `rather`, where it is left; undefined where nobody is left,
   * or somebody has.
   */
  replace(nodeId: string, reachable: (nodeId: string) => boolean, rather?: string): string | undefined;
  /** Has one that is left keep a copy besides: for a home that is not asked itself, else for the last one. */
  add(nodeId: string): void;
  /** Homes that nobody has it for, that the coordinator is not. */
  unmet(): readonly string[];
}

export function createStandIns({ chosen, spare, unmet }: Selection): StandIns {
  const homeOf = new Map(chosen.map(({ nodeId, standsInFor }) => [nodeId, standsInFor]));
  const [coordinator] = chosen;
  const waiting = new Set(unmet);
  for (const { nodeId, standsInFor } of chosen.slice(1)) waiting.add(standsInFor ?? nodeId);
  let leftOf: string[] | undefined;
  const left = () => {
    leftOf ??= spare().slice();
    return leftOf;
  };
  const homeOfMore = chosen.find(({ standsInFor }) => standsInFor)?.standsInFor ?? unmet[0] ?? chosen.at(-1)?.nodeId;
  const replaced = new Set<string>();
  if (coordinator !== undefined) waiting.delete(coordinator.standsInFor ?? coordinator.nodeId);
  return {
    homeOf: (nodeId) => homeOf.get(nodeId),
    acknowledged(nodeId) {
      waiting.delete(homeOf.get(nodeId) ?? nodeId);
    },
    spare: left,
    add(nodeId) {
      left().splice(left().indexOf(nodeId), 1);
      if (homeOfMore !== undefined) homeOf.set(nodeId, homeOfMore);
    },
    replace(nodeId, reachable, rather) {
      if (replaced.has(nodeId)) return undefined;
      const preferred = rather === undefined ? -1 : left().indexOf(rather);
      if (preferred > 0) left().unshift(...left().splice(preferred, 1));
      for (;;) {
        const next = left().shift();
        if (next === undefined) return undefined;
        if (!reachable(next)) continue;
        homeOf.set(next, homeOf.get(nodeId) ?? nodeId);
        replaced.add(nodeId);
        return next;
      }
    },
    unmet: () => [...waiting],
  };
}

/**
 * The sloppy quorum (DeCandia et al. 2007, 4.6): an operation is run by the first N nodes of the preference list
 * that can be reached, and each fallback among them stands in for a home that cannot.
 *
 * I1 No node stands in for two homes, no home has two that stand in for it at a time.
 * I2 The coordinator is always among those chosen: without a copy of its own it could not mint a dot. Where N
 *    others come before it, it takes the place of the last of them.
 */

export interface Chosen {
  readonly nodeId: string;
  /** The home that a fallback stands in for; undefined for a home. */
  readonly standsInFor: string | undefined;
}

export interface Selection {
  /** The coordinator first, the others in the order of the preference list; at most N. */
  readonly chosen: readonly Chosen[];
  /** Who can be asked in place of one that fails, in order: looked for when it is asked, since most operations need nobody. */
  spare(): readonly string[];
  /** Homes that are not chosen and for which nobody stands in. */
  readonly unmet: readonly string[];
}

export interface SelectionOptions {
  /** Ids, the homes first. */
  readonly preference: readonly string[];
  /** N. */
  readonly replicas: number;
  readonly coordinator: string;
  /** Fallbacks may not stand in. */
  readonly strict: boolean;
  reachable(nodeId: string): boolean;
}

export function selectReplicas({ preference, replicas, coordinator, strict, reachable }: SelectionOptions): Selection {
  const isUp = (id: string) => id === coordinator || reachable(id);
  const homes = preference.slice(0, replicas);
  const candidates = strict ? homes : preference;
  const ids: string[] = [];
  for (let i = 0; i < candidates.length && ids.length < replicas; i++) {
    const id = candidates[i] as string;
    if (isUp(id)) ids.push(id);
  }
  if (!ids.includes(coordinator)) ids[Math.min(ids.length, replicas - 1)] = coordinator;
  const missing = homes.filter((home) => !ids.includes(home));
  let met = 0;
  const chosen = ids.map((nodeId): Chosen => {
    return { nodeId, standsInFor: homes.includes(nodeId) ? undefined : missing[met++] };
  });
  return {
    chosen: [
      ...chosen.filter(({ nodeId }) => nodeId === coordinator),
      ...chosen.filter(({ nodeId }) => nodeId !== coordinator),
    ],
    spare: () => candidates.filter((id) => !ids.includes(id) && isUp(id)),
    unmet: missing.slice(met),
  };
}

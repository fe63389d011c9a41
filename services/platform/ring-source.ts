/** The newest ring that this process knows, and who wants to hear of the next one. */
import { compareVersions, type Ring } from '../core/ring/ring.ts';

export interface RingSource {
  current(): Ring | undefined;
  /** Ignores a ring that is not newer. */
  set(ring: Ring): void;
  /** `onRing` is called at each newer ring. Returns a function that ends that. */
  subscribe(onRing: (ring: Ring) => void): () => void;
}

export function createRingSource(initial?: Ring): RingSource {
  const subscribers = new Set<(ring: Ring) => void>();
  let ring = initial;
  return {
    current: () => ring,
    set(next) {
      if (ring !== undefined && compareVersions(next.version, ring.version) <= 0) return;
      ring = next;
      for (const onRing of subscribers) onRing(next);
    },
    subscribe(onRing) {
      subscribers.add(onRing);
      return () => subscribers.delete(onRing);
    },
  };
}

/** What is done to a long list some at a time: because it takes the event loop, memory or a message meanwhile. */

/** In order, `size` of them each, the last one perhaps fewer. */
export function* groupsOf<T>(items: readonly T[], size: number): Generator<T[], void, void> {
  for (let i = 0; i < items.length; i += size) yield items.slice(i, i + size);
}

/** What several studies do. */

/** `run(0)` to `run(count - 1)`, so many at a time. */
export async function inParallel(
  count: number,
  workers: number,
  signal: AbortSignal,
  run: (i: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: workers }, async () => {
      while (next < count) {
        signal.throwIfAborted();
        await run(next++);
      }
    }),
  );
}

export function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

/** A client that writes and reads for as long as a test changes something under it. */
import type { CartwheelClient } from '../../client/index.ts';

export interface Load {
  /** Keys whose put was acknowledged; the value is the key. */
  readonly written: readonly string[];
  readonly failures: readonly string[];
  stop(): Promise<void>;
}

/** Puts one new key after the other, each read at once. */
export function startLoad(on: CartwheelClient, name = 'moving'): Load {
  const written: string[] = [];
  const failures: string[] = [];
  let isStopped = false;
  const running = (async () => {
    for (let i = 0; !isStopped; i++) {
      const key = `${name}-${i}`;
      try {
        await on.put(key, key);
        written.push(key);
        const { siblings } = await on.get(key);
        if (siblings.length !== 1) failures.push(`${key} has ${siblings.length} values`);
      } catch (error) {
        failures.push(`${key}: ${error}`);
      }
    }
  })();
  return {
    written,
    failures,
    async stop() {
      isStopped = true;
      await running;
    },
  };
}

/** Time in a test of assembled nodes: turns of the event loop, and the clock that the test moves. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';

/** Lets everything happen that needs no time. */
export async function turns(n = 50): Promise<void> {
  for (let i = 0; i < n; i++) await nextTurn();
}

const stepMs = 50;

/** Lets so much time pass, and everything happen that it brings. */
export async function pass({ clock }: Pick<Cluster, 'clock'>, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += stepMs) {
    clock.advance(stepMs);
    await turns();
  }
}

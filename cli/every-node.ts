/** What each storage node of the ring says, asked one by one. */
import type { CartwheelClient } from '../client/index.ts';
import { away, isOperationFailed } from './connection.ts';
import { left } from './node-status.ts';

export interface NodeAnswer<T> {
  readonly address: string;
  readonly answer: T;
}

const ofNodesAway = new Set(['NOT_ENOUGH_REPLICAS', 'DEADLINE', 'DRAINING', 'INTERNAL']);

/**
 * In the order of their addresses; with why each of the others could not be asked. Where none answers, and one refuses what is
 * asked (there is no such namespace), that is thrown: no node is away for it.
 */
export async function everyNode<T>(
  client: CartwheelClient,
  ask: (address: string) => Promise<T>,
): Promise<{ answers: NodeAnswer<T>[]; unreachable: string[] }> {
  const ring = await client.ring();
  // One that is being replaced may have the address of the one that takes its place.
  const addresses = new Set(ring.nodes.filter(({ status }) => status !== left).map(({ address }) => address));
  const answers: NodeAnswer<T>[] = [];
  const unreachable: string[] = [];
  const refusals: unknown[] = [];
  await Promise.all(
    [...addresses].map(async (address) => {
      try {
        answers.push({ address, answer: await ask(address) });
      } catch (error) {
        unreachable.push(away(address, error));
        if (isOperationFailed(error) && !ofNodesAway.has(error.reason)) refusals.push(error);
      }
    }),
  );
  if (answers.length === 0 && refusals.length > 0) throw refusals[0];
  answers.sort((a, b) => a.address.localeCompare(b.address, 'en', { numeric: true }));
  return { answers, unreachable: unreachable.sort() };
}

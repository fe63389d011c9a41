/** What each storage node of the ring says, asked one by one. */
import type { CartwheelClient } from '../client/index.ts';
import { away, isOperationFailed } from './connection.ts';

export interface NodeAnswer<T> {
  readonly address: string;
  readonly answer: T;
}

const ofNodesAway = new Set(['NOT_ENOUGH_REPLICAS', 'DEADLINE', 'DRAINING', 'INTERNAL']);

/** NodeStatus of kv.proto: it owns nothing any more, and its address may be another one's by now. */
const left = 4;

/**
 * In the order of their addresses; with why each of the others could not be asked. Where none answers, and one refuses what is
 * asked (there is no such namespace), that is thrown: no node is away for it.
 */
export async function everyNode<T>(
  client: CartwheelClient,
  ask: (address: string) => Promise<T>,
): Promise<{ answers: NodeAnswer<T>[]; unreachable: string[] }> {
  const ring = await client.ring();
  const nodes = ring.nodes.filter(({ status }) => status !== left);
  const answers: NodeAnswer<T>[] = [];
  const unreachable: string[] = [];
  const refusals: unknown[] = [];
  await Promise.all(
    nodes.map(async ({ address }) => {
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

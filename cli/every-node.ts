/** What each storage node of the ring says, asked one by one. */
import type { CartwheelClient } from '../client/index.ts';
import { away } from './connection.ts';

export interface NodeAnswer<T> {
  readonly address: string;
  readonly answer: T;
}

/** NodeStatus of kv.proto: it owns nothing any more, and its address may be another one's by now. */
const left = 4;

/** In the order of their addresses; with why each of the others could not be asked. */
export async function everyNode<T>(
  client: CartwheelClient,
  ask: (address: string) => Promise<T>,
): Promise<{ answers: NodeAnswer<T>[]; unreachable: string[] }> {
  const ring = await client.ring();
  const nodes = ring.nodes.filter(({ status }) => status !== left);
  const answers: NodeAnswer<T>[] = [];
  const unreachable: string[] = [];
  await Promise.all(
    nodes.map(async ({ address }) => {
      try {
        answers.push({ address, answer: await ask(address) });
      } catch (error) {
        unreachable.push(away(address, error));
      }
    }),
  );
  answers.sort((a, b) => a.address.localeCompare(b.address, 'en', { numeric: true }));
  return { answers, unreachable: unreachable.sort() };
}

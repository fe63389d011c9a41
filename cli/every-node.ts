/** What each storage node of the ring says of itself, asked one by one. */
import type { CartwheelClient } from '../client/index.ts';
import type { GetStatusResponse } from '../proto/gen/cartwheel/admin/v1/admin.ts';
import { away } from './connection.ts';

export interface NodeAnswer {
  readonly address: string;
  readonly status: GetStatusResponse;
}

/** In the order of their addresses; with why each of the others could not be asked. */
export async function everyNode(client: CartwheelClient): Promise<{ statuses: NodeAnswer[]; unreachable: string[] }> {
  const { nodes } = await client.ring();
  const statuses: NodeAnswer[] = [];
  const unreachable: string[] = [];
  await Promise.all(
    nodes.map(async ({ address }) => {
      try {
        statuses.push({ address, status: await client.status(address) });
      } catch (error) {
        unreachable.push(away(address, error));
      }
    }),
  );
  statuses.sort((a, b) => a.address.localeCompare(b.address, 'en', { numeric: true }));
  return { statuses, unreachable: unreachable.sort() };
}

/** What storage nodes say of themselves, asked all at once; who does not say it in time is not in the answer. */
import type { GetStatusResponse } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { keepAdminChannels } from './routing/admin-call.ts';

/** Less than it takes to notice a node that is gone: it costs a step of a change no more than this. */
const TIMEOUT_MS = 1_000;
const CALLS_AT_A_TIME = 16;

export interface StatusTarget {
  readonly id: string;
  readonly address: string;
}

export interface StatusReader {
  /** By id. Whoever answers under another id, as after a lost disk, counts as silent. */
  read(targets: readonly StatusTarget[]): Promise<Map<string, GetStatusResponse>>;
  close(): void;
}

/** For whoever asks again and again: a channel to each that was asked last is kept. */
export function createStatusReader(): StatusReader {
  const channels = keepAdminChannels();

  async function statusOf(address: string): Promise<GetStatusResponse | undefined> {
    try {
      return await channels.call<GetStatusResponse>(address, TIMEOUT_MS, (on, ...rest) => on.getStatus({}, ...rest));
    } catch {
      return undefined;
    }
  }

  return {
    async read(targets) {
      channels.keepOnly(new Set(targets.map(({ address }) => address)));
      const statuses = new Map<string, GetStatusResponse>();
      const waiting = [...targets];
      const ask = async () => {
        for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
          const status = await statusOf(target.address);
          if (status?.id === target.id) statuses.set(target.id, status);
          // Its channel may lead to who has its old address by now.
          else channels.drop(target.address);
        }
      };
      await Promise.all(Array.from({ length: CALLS_AT_A_TIME }, ask));
      return statuses;
    },
    close: () => channels.close(),
  };
}

/** Once. */
export async function readStatuses(targets: readonly StatusTarget[]): Promise<Map<string, GetStatusResponse>> {
  const reader = createStatusReader();
  try {
    return await reader.read(targets);
  } finally {
    reader.close();
  }
}

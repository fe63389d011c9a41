/** What a process says of itself: what is counted at one moment, and what at another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type GetStatusResponse, type HintStatus, ProcessKind } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { createClock } from '../../services/platform/clock.ts';
import { statusService } from '../../services/platform/status-service.ts';
import { silentLog } from './recording-log.ts';

const storage = {
  ...{ keysEstimated: 0n, diskBytes: 0n, primaryPartitions: 0, partitions: 0, acceptingWrites: true },
  ...{ diskFreeBytes: 0n, backgroundBytesPerSecond: 0n, transfersWaitFor: '', pulling: [] },
};

interface Kept {
  hints: bigint;
  leftovers: number;
}

/** `meanwhile` happens while the hints are looked at: before they are, where `isBefore`. */
function statusOf(kept: Kept, isBefore: boolean, meanwhile: () => void): Promise<GetStatusResponse> {
  const { implementation } = statusService({
    ...{ kind: ProcessKind.STORAGE_NODE, id: 'n', address: 'n:1', clock: createClock() },
    ...{ gossip: { state: () => ({ clusterId: 'c', members: new Map() }) as never, ring: () => undefined } },
    ...{ namespaces: {} as never, log: silentLog },
    storage: () => storage,
    retiring: () => kept.leftovers,
    async hints() {
      await undefined;
      if (isBefore) meanwhile();
      const counted = { nodeId: 'home', hints: kept.hints } as HintStatus;
      if (!isBefore) meanwhile();
      return [counted];
    },
  });
  type Callback = (error: unknown, status: unknown) => void;
  const getStatus = implementation.getStatus as (call: unknown, callback: Callback) => void;
  return new Promise((resolve, reject) => {
    getStatus({ request: {} }, (error, status) => (error ? reject(error) : resolve(status as GetStatusResponse)));
  });
}

const owed = ({ hints, storage: said }: GetStatusResponse) =>
  Number(hints[0]?.hints) + Number(said?.retiringPartitions);

test('a record that goes from the hints to what is left over while they are counted is in one of them', async () => {
  const kept = { hints: 1n, leftovers: 0 };
  const status = await statusOf(kept, true, () => Object.assign(kept, { hints: 0n, leftovers: 1 }));
  assert.equal(owed(status), 1);
});

test('and one that goes the other way', async () => {
  const kept = { hints: 0n, leftovers: 1 };
  const status = await statusOf(kept, false, () => Object.assign(kept, { hints: 1n, leftovers: 0 }));
  assert.equal(owed(status), 1);
});

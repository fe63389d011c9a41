import assert from 'node:assert/strict';
import { test } from 'node:test';
import { everyNode } from '../../cli/every-node.ts';
import { type CartwheelClient, OperationFailed } from '../../client/index.ts';
import { Failure } from '../../services/core/failure.ts';

test('every address in the ring is asked once, and none of a node that has left', async () => {
  const nodes = [
    { address: 'b:1', status: 5 }, // its disk is lost, and the next one takes its place
    { address: 'b:1', status: 2 },
    { address: 'c:1', status: 4 },
    { address: 'a:1', status: 5 },
  ];
  const client = { ring: async () => ({ nodes }) } as unknown as CartwheelClient;
  const asked: string[] = [];
  const { answers, unreachable } = await everyNode(client, async (address) => {
    asked.push(address);
    if (address === 'a:1') throw new Error('no answer from a:1');
    return 'fine';
  });
  assert.deepEqual(asked.sort(), ['a:1', 'b:1']);
  assert.deepEqual(answers, [{ address: 'b:1', answer: 'fine' }]);
  assert.deepEqual(unreachable, ['a:1 (no answer)']);
});

test('what every node refuses is told as that, and not as nodes that are away', async () => {
  const nodes = ['a:1', 'b:1'].map((address) => ({ address, status: 2 }));
  const client = { ring: async () => ({ nodes }) } as unknown as CartwheelClient;
  const refused = everyNode(client, async (address) => {
    const reason = address === 'a:1' ? 'NOT_ENOUGH_REPLICAS' : 'NAMESPACE_UNKNOWN';
    throw new OperationFailed(new Failure(reason, `no answer from ${address}`));
  });
  await assert.rejects(refused, { reason: 'NAMESPACE_UNKNOWN' });
});

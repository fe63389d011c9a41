import type { Command } from 'commander';
import type { ExplainResponse, Ring } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { nameOfNode } from '../../services/core/ring/ring.ts';
import { withClient } from '../connection.ts';
import { addKey, keyOf } from '../key.ts';
import { bytesField, json, preview, table, write } from '../output.ts';
import { operationOptions, settingsOf } from '../settings.ts';

const columns = [
  { title: 'NODE' },
  { title: 'ADDRESS' },
  { title: 'ZONE' },
  { title: 'ROLE' },
  { title: 'REACHABLE' },
  { title: 'DOTS' },
  { title: 'CLOCK' },
  { title: 'HINTS FOR' },
] as const;

export function addExplain(program: Command): void {
  addKey(program.command('explain'))
    .description('show where a key lives, and what each replica holds of it')
    .addHelpText(
      'after',
      `
The hash is XXH64, in 16 hexadecimal digits also in JSON; its upper bits are the partition.

Example:
  cartwheel explain cart-1`,
    )
    .action(async (key: string, options: { keyBase64?: boolean }, command: Command) => {
      const settings = settingsOf(command);
      const keyBytes = keyOf(key, options);
      await withClient(settings, async (client) => {
        const [explained, ring] = await Promise.all([
          client.explain(keyBytes, operationOptions(settings)),
          client.ring(),
        ]);
        await write(
          settings.output === 'json'
            ? json({ ...bytesField('key', keyBytes), ...explained, hash: hashText(explained) })
            : block(keyBytes, explained, ring),
        );
      });
    });
}

/** Not a number in JSON: most readers of JSON would round it. */
function hashText({ hash }: ExplainResponse): string {
  return hash.toString(16).padStart(16, '0');
}

function block(key: Uint8Array, explained: ExplainResponse, ring: Ring): string {
  const nodes = new Map(ring.nodes.map((node) => [node.id, node]));
  const version = explained.ring === undefined ? 'none' : `${explained.ring.term}.${explained.ring.sequence}`;
  const rows = explained.replicas.map((replica) => [
    replica.nodeId,
    nodes.get(replica.nodeId)?.address ?? '-',
    nodes.get(replica.nodeId)?.zone || '-',
    replica.home ? 'home' : 'fallback',
    replica.reachable ? 'yes' : 'NO',
    replica.reachable ? replica.dots.join(' ') || (replica.tombstone ? 'tombstone' : 'none') : '?',
    replica.reachable ? replica.clock || '-' : '?',
    replica.hintedFor.map((id) => nameOfNode(ring, id)).join(' ') || '-',
  ]);
  return [
    `key        ${preview(key, 200)}`,
    `hash       ${hashText(explained)}`,
    `partition  ${explained.partition} of ${ring.partitions}`,
    `ring       ${version}`,
    '',
    table(columns, rows),
  ].join('\n');
}

/**
 * The goal in a ConfigMap: what one claimant had begun, the next one goes on with, on another machine. Compressed, for a
 * ConfigMap has at most 1 MiB.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import type { Goal } from '../core/membership/rebalance.ts';
import type { Kubernetes } from '../platform/kubernetes/api.ts';
import { decodeGoal, encodeGoal } from './goal-file.ts';

export interface KeptGoal {
  readonly kept: Goal | undefined;
  /** Rejects where somebody else has written it since: then this is not the claimant any more. One call at a time. */
  keep(goal: Goal | undefined): Promise<void>;
}

const KEY = 'goal';

export async function openGoalMap(kubernetes: Kubernetes, name: string): Promise<KeptGoal> {
  let map = await kubernetes.configMap(name);
  const bytes = map.binaryData[KEY];
  return {
    kept: bytes === undefined ? undefined : decodeGoal(gunzipSync(Buffer.from(bytes, 'base64'))),
    async keep(goal) {
      const binaryData = { [KEY]: gzipSync(encodeGoal(goal)).toString('base64') };
      map = await kubernetes.replaceConfigMap(map, { data: {}, binaryData });
    },
  };
}

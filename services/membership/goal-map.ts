/**
 * The goal in a ConfigMap: what one claimant had begun, the next one goes on with, on another machine. Compressed, for a
 * ConfigMap has at most 1 MiB.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import type { Goal } from '../core/membership/rebalance.ts';
import { type Kubernetes, KubernetesRefused } from '../platform/kubernetes/api.ts';
import { decodeGoal, encodeGoal } from './goal-file.ts';

export interface KeptGoal {
  readonly kept: Goal | undefined;
  /** Rejects where it could not be made durable, or is not known to be. One call at a time. */
  keep(goal: Goal | undefined): Promise<void>;
  /** Somebody else has written it since, or the answer to a write was lost: it has to be opened again. */
  isStale(): boolean;
}

const KEY = 'goal';

export async function openGoalMap(kubernetes: Kubernetes, name: string): Promise<KeptGoal> {
  let map = await kubernetes.configMap(name);
  let isStale = false;
  const bytes = map.binaryData[KEY];
  return {
    kept: bytes === undefined ? undefined : decodeGoal(gunzipSync(Buffer.from(bytes, 'base64'))),
    async keep(goal) {
      const binaryData = { [KEY]: gzipSync(encodeGoal(goal)).toString('base64') };
      try {
        map = await kubernetes.replaceConfigMap(map, { data: {}, binaryData });
      } catch (error) {
        isStale ||= error instanceof KubernetesRefused && error.code === 409;
        throw error;
      }
    },
    isStale: () => isStale,
  };
}

/** What the chart makes of values, as objects: without a cluster, by helm alone. */
import { loadAllYaml } from '@kubernetes/client-node';
import { chart, done } from './tools.ts';

/** Of any kind; only what a test looks at. */
export interface Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  // biome-ignore lint/suspicious/noExplicitAny: of as many shapes as there are kinds
  readonly [key: string]: any;
}

/** `args` are helm's, such as --values FILE. Rejects with what helm says where it refuses. */
export async function manifests(...args: string[]): Promise<readonly Manifest[]> {
  return manifestsOf(chart, ...args);
}

/** Of another copy of the chart. */
export async function manifestsOf(directory: string, ...args: string[]): Promise<readonly Manifest[]> {
  const text = await done('helm', 'template', 'test', directory, '--kube-version', '1.30.0', ...args);
  return loadAllYaml(text).filter((each: Manifest | undefined) => each);
}

/** Of everything that has pods: what they are made of. */
export function podsOf(all: readonly Manifest[]): ReadonlyMap<string, Manifest> {
  const pods = all.flatMap(({ kind, metadata, spec, ...rest }): [string, Manifest][] => {
    if (kind === 'Pod') return [[metadata.name, { kind, metadata, spec, ...rest }]];
    const pod = spec?.template?.spec && spec.template;
    return pod === undefined ? [] : [[metadata.name, pod]];
  });
  return new Map(pods);
}

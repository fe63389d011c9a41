/**
 * What is asked of Kubernetes, by the service account of the pod (or by KUBECONFIG, where that is set): the labels of a
 * node, a Lease, a ConfigMap, what is noted on a ServiceAccount, how many pods a StatefulSet has. Nothing else, so that the rights can be as few.
 *
 * I1 Everything is replaced only as it was read: a write that meets another one is a KubernetesRefused with code 409.
 */
import type { CoordinationV1Api, CoreV1Api, V1Lease, V1ServiceAccount } from '@kubernetes/client-node';
import type { Lease, LeaseWrite } from '../../core/membership/election.ts';

export interface Kubernetes {
  /** By its name. */
  nodeLabels(node: string): Promise<Readonly<Record<string, string>>>;
  lease(name: string): Promise<KeptLease>;
  /** In place of `before`. */
  replaceLease(before: KeptLease, write: LeaseWrite, durationMs: number): Promise<void>;
  configMap(name: string): Promise<KeptMap>;
  replaceConfigMap(before: KeptMap, next: Pick<KeptMap, 'data' | 'binaryData'>): Promise<KeptMap>;
  /** The annotations of a ServiceAccount; scaling.ts says why of such a one. */
  notes(serviceAccount: string): Promise<Notes>;
  /** All of them, in place of `before`. */
  replaceNotes(before: Notes, notes: Notes['notes']): Promise<Notes>;
  /** As wanted, not as there are; undefined: there is no StatefulSet of this name. */
  statefulSetReplicas(name: string): Promise<number | undefined>;
}

export interface KeptLease extends Lease {
  readonly name: string;
  /** Of the object: another one after it was deleted and made again. */
  readonly uid: string;
}

export interface KeptMap {
  readonly name: string;
  readonly version: string;
  readonly data: Readonly<Record<string, string>>;
  /** Base64. */
  readonly binaryData: Readonly<Record<string, string>>;
}

export interface Notes {
  readonly name: string;
  readonly version: string;
  readonly notes: Readonly<Record<string, string>>;
}

/** Kubernetes said no, or nothing in time. */
export class KubernetesRefused extends Error {
  /** Of HTTP; 0: no answer. */
  readonly code: number;

  constructor(code: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KubernetesRefused';
    this.code = code;
  }
}

/** Less than HELD_MS of election.ts: a renewal that hangs can be tried again. */
const TIMEOUT_MS = 4_000;

/** Loads the client library, which takes half a second and 80 MB: only who needs it calls this. */
export async function connectKubernetes(): Promise<Kubernetes> {
  const { AppsV1Api, CoordinationV1Api, CoreV1Api, KubeConfig, V1MicroTime } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  config.loadFromDefault();
  const namespace = config.getContextObject(config.getCurrentContext())?.namespace ?? 'default';
  const core: CoreV1Api = config.makeApiClient(CoreV1Api);
  const coordination: CoordinationV1Api = config.makeApiClient(CoordinationV1Api);
  const apps = config.makeApiClient(AppsV1Api);

  return {
    async nodeLabels(name) {
      const { metadata } = await asked(`node ${name}`, core.readNode({ name }));
      return metadata?.labels ?? {};
    },
    async lease(name) {
      return keptLease(await asked(`lease ${name}`, coordination.readNamespacedLease({ namespace, name })));
    },
    async replaceLease({ name, version, holder, term }, write, durationMs) {
      const now = new V1MicroTime();
      const body: V1Lease = {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name, namespace, resourceVersion: version },
        spec: {
          holderIdentity: write.holder,
          leaseDurationSeconds: durationMs / 1_000,
          leaseTransitions: Number(write.term),
          renewTime: now,
          ...(write.holder === holder && write.term === term ? {} : { acquireTime: now }),
        },
      };
      await asked(`lease ${name}`, coordination.replaceNamespacedLease({ namespace, name, body }));
    },
    async configMap(name) {
      return keptMap(name, await asked(`config map ${name}`, core.readNamespacedConfigMap({ namespace, name })));
    },
    async replaceConfigMap({ name, version }, { data, binaryData }) {
      const before = await asked(`config map ${name}`, core.readNamespacedConfigMap({ namespace, name }));
      // Labels and annotations are others'.
      const body = { ...before, metadata: { ...before.metadata, resourceVersion: version }, data, binaryData };
      return keptMap(
        name,
        await asked(`config map ${name}`, core.replaceNamespacedConfigMap({ namespace, name, body })),
      );
    },
    async notes(name) {
      return notesOf(await asked(`service account ${name}`, core.readNamespacedServiceAccount({ namespace, name })));
    },
    async replaceNotes({ name, version }, notes) {
      const what = `service account ${name}`;
      const before = await asked(what, core.readNamespacedServiceAccount({ namespace, name }));
      const metadata = { ...before.metadata, resourceVersion: version, annotations: { ...notes } };
      const body = { ...before, metadata };
      return notesOf(await asked(what, core.replaceNamespacedServiceAccount({ namespace, name, body })));
    },
    async statefulSetReplicas(name) {
      try {
        const { spec } = await asked(`stateful set ${name}`, apps.readNamespacedStatefulSet({ namespace, name }));
        return spec?.replicas ?? 1;
      } catch (error) {
        if (error instanceof KubernetesRefused && error.code === 404) return undefined;
        throw error;
      }
    },
  };
}

function keptLease({ metadata, spec }: V1Lease): KeptLease {
  return {
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
    version: metadata?.resourceVersion ?? '',
    holder: spec?.holderIdentity ?? '',
    term: BigInt(spec?.leaseTransitions ?? 0),
  };
}

function notesOf({ metadata }: V1ServiceAccount): Notes {
  return {
    name: metadata?.name ?? '',
    version: metadata?.resourceVersion ?? '',
    notes: metadata?.annotations ?? {},
  };
}

function keptMap(
  name: string,
  { metadata, data = {}, binaryData = {} }: Awaited<ReturnType<CoreV1Api['readNamespacedConfigMap']>>,
): KeptMap {
  return { name, version: metadata?.resourceVersion ?? '', data, binaryData };
}

/** Rejects with KubernetesRefused, whatever it is. */
async function asked<T>(what: string, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    const late = new KubernetesRefused(0, `Kubernetes has not answered about ${what} for ${TIMEOUT_MS} ms`);
    timer = setTimeout(() => reject(late), TIMEOUT_MS);
  });
  try {
    return await Promise.race([answer, silence]);
  } catch (error) {
    if (error instanceof KubernetesRefused) throw error;
    const { code } = error as { code?: unknown };
    throw new KubernetesRefused(typeof code === 'number' ? code : 0, `${what}: ${reasonOf(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** The message of the API's Status; the library puts all of the answer, headers too, into its own. */
function reasonOf(error: unknown): string {
  const { body, message, cause } = error as { body?: unknown; message?: string; cause?: unknown };
  try {
    const { message: said } = (typeof body === 'string' ? JSON.parse(body) : body) as { message?: string };
    if (said !== undefined) return said;
  } catch {
    // no Status
  }
  return cause instanceof Error ? `${message}: ${cause.message}` : String(message);
}

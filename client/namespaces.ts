/** Namespaces as programs see them: names instead of numbers, milliseconds instead of durations. */
import type {
  CreateNamespaceResponse,
  NamespaceSettings as SettingsMessage,
} from '../proto/gen/cartwheel/admin/v1/admin.ts';
import { Durability } from '../proto/gen/cartwheel/kv/v1/kv.ts';
import { type Namespace as NamespaceMessage, Resolution } from '../proto/gen/cartwheel/membership/v1/membership.ts';
import { encodeDuration } from '../services/core/codec/duration.ts';
import { Failure } from '../services/core/failure.ts';
import { decodeNamespace } from '../services/core/namespaces/codec.ts';
import type { DurabilityName, Namespace, ResolutionName } from '../services/core/namespaces/namespace.ts';

/** What is absent has its default in a create, and stays as it is in an alter. */
export interface NamespaceSettings {
  /** Of requests that name none; 0: a majority of N. */
  readonly r?: number | undefined;
  readonly w?: number | undefined;
  readonly durability?: DurabilityName | undefined;
  readonly resolution?: ResolutionName | undefined;
  /** Of puts that name none; 0: values stay. */
  readonly ttlMs?: number | undefined;
  readonly strict?: boolean | undefined;
  /** Of a get asking all N replicas. */
  readonly readAllProbability?: number | undefined;
  readonly losersKeptMs?: number | undefined;
}

/** A change, and how far it had come when it was answered. */
export interface ChangedNamespace {
  readonly namespace: Namespace;
  /** Ids of storage nodes. */
  readonly knownBy: readonly string[];
  /** These learn it by gossip; until then they refuse operations in it. */
  readonly notReached: readonly string[];
}

/** Every method throws OperationFailed. */
export interface NamespacesClient {
  create(name: string, settings?: NamespaceSettings): Promise<ChangedNamespace>;
  alter(
    name: string,
    settings: NamespaceSettings,
    options?: { readonly expectedVersion?: number | undefined },
  ): Promise<ChangedNamespace>;
  /** By name, "default" among them. */
  list(): Promise<readonly Namespace[]>;
}

export function settingsMessage(settings: NamespaceSettings): SettingsMessage {
  const { r, w, durability, resolution, ttlMs, strict, readAllProbability, losersKeptMs } = settings;
  return {
    r,
    w,
    durability: durabilityNumber(durability),
    resolution: resolution === undefined ? Resolution.UNSPECIFIED : Resolution[resolution],
    ttl: ttlMs === undefined ? undefined : encodeDuration(ttlMs),
    strict,
    readAllProbability,
    losersKept: losersKeptMs === undefined ? undefined : encodeDuration(losersKeptMs),
  };
}

/** Unspecified: the namespace's. */
export function durabilityNumber(name: DurabilityName | undefined): Durability {
  return name === undefined ? Durability.UNSPECIFIED : Durability[name];
}

export function openChange({ namespace, spread }: CreateNamespaceResponse): ChangedNamespace {
  if (namespace === undefined) throw new Failure('INTERNAL', 'the answer has no namespace', { outcome: 'UNKNOWN' });
  return { namespace: openNamespace(namespace), knownBy: spread?.knownBy ?? [], notReached: spread?.notReached ?? [] };
}

/** Version 0 is what is built in, and never travels by gossip. */
export function openNamespace(message: NamespaceMessage): Namespace {
  return message.version === 0
    ? { ...decodeNamespace({ ...message, version: 1 }), version: 0 }
    : decodeNamespace(message);
}

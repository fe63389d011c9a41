/** The TypeScript client of Cartwheel. */

export type { OutcomeName, ReasonName } from '../services/core/failure.ts';
export type { DurabilityName, Namespace, ResolutionName } from '../services/core/namespaces/namespace.ts';
export type { ChangesClient } from './changes.ts';
export { type CartwheelClient, type ConnectOptions, connect } from './client.ts';
export type { ChangedNamespace, NamespaceSettings, NamespacesClient } from './namespaces.ts';
export { OperationFailed } from './operation-failed.ts';
export type { CartwheelSession } from './session.ts';
export type {
  GetAnswer,
  GetOptions,
  HotKey,
  Key,
  Loser,
  OperationEvent,
  OperationOptions,
  PutAnswer,
  PutOptions,
  Sibling,
  UpdateOptions,
  Value,
  WriteOptions,
} from './types.ts';

/** The TypeScript client of Cartwheel. */
export { type CartwheelClient, type ConnectOptions, connect } from './client.ts';
export { OperationFailed } from './operation-failed.ts';
export type {
  GetAnswer,
  GetOptions,
  Key,
  OperationOptions,
  PutAnswer,
  PutOptions,
  Sibling,
  UpdateOptions,
  Value,
  WriteOptions,
} from './types.ts';

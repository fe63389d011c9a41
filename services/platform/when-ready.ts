/**
 * Calls `done` once the client's channel is connected, with an Error where it is not by the deadline (milliseconds since
 * 1970) or is closed before.
 *
 * Not by `waitForReady` of grpc-js: that looks once more at a channel that is closed meanwhile, and by looking has it connect.
 * Closed as it is it then resolves its name and dials for ever, and keeps the process alive.
 *
 * gRPC wants deadlines by the wall clock. That may be set meanwhile, so each look has what is left by the monotonic one.
 */
import { type Client, connectivityState } from '@grpc/grpc-js';

/**
 * How long a connection may take to be made. gRPC itself gives up with the system, after two minutes: long after a Service
 * that led to a pod that is gone would have led another connection to one that lives.
 */
export const connectTimeoutMs = 3_000;

export function whenReady(client: Client, deadline: number, done: (error?: Error) => void): void {
  const channel = client.getChannel();
  const giveUpAt = performance.now() + deadline - Date.now();
  const look = (late?: Error): void => {
    if (channel.getConnectivityState(false) === connectivityState.SHUTDOWN) done(new Error('the channel is closed'));
    else if (late !== undefined) done(new Error('not connected by the deadline'));
    else {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) done();
      else channel.watchConnectivityState(state, Date.now() + giveUpAt - performance.now(), look);
    }
  };
  setImmediate(look);
}

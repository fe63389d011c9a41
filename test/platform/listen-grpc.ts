/** A gRPC server of a test on a free port of the loopback interface. */
import { type Server, ServerCredentials } from '@grpc/grpc-js';

/** Resolves with HOST:PORT. */
export function listenGrpc(server: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(`127.0.0.1:${port}`) : reject(error),
    );
  });
}

/**
 * A session: what this program has written it reads back, whichever replica answers; with a timeout, an abort and a
 * hook for metrics.
 *
 *   node node_modules/cartwheel-client/examples/session.js 127.0.0.1:7400
 */
import { connect, OperationFailed } from 'cartwheel-client';

const client = connect({
  endpoints: (process.argv[2] ?? '127.0.0.1:7400').split(','),
  direct: true,
  onOperation: ({ operation, milliseconds, address, reason }) =>
    console.log(
      `${operation}: ${milliseconds.toFixed(1)} ms at ${address}${reason === undefined ? '' : `, ${reason}`}`,
    ),
});
const session = client.session();
const key = `profile-${process.pid}`;

try {
  await session.put(key, 'blue', { timeoutMs: 2_000 });
  const { siblings, context, certificate } = await session.get(key, { signal: AbortSignal.timeout(2_000) });
  console.log(`${siblings.map(({ value }) => value)}, covered by the session: ${certificate.coversSession}`);
  await session.delete(key, context);
} catch (error) {
  if (!(error instanceof OperationFailed)) throw error;
  console.error(`${error.reason}, ${error.outcome}: ${error.message}`);
  process.exitCode = 1;
} finally {
  await client.close();
}

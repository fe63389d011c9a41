import assert from 'node:assert/strict';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { after, test } from 'node:test';
import { Server as GrpcServer } from '@grpc/grpc-js';
import { AdminServiceService, GetStatusResponse } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { listenGrpc } from '../platform/listen-grpc.ts';
import { cartwheel } from './run-cartwheel.ts';

const servers: (() => void)[] = [];
let members = 0;
after(() => {
  for (const close of servers) close();
});

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  servers.push(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Serves AdminService only. */
async function membershipProcess(): Promise<string> {
  const id = `member-${++members}`;
  const server = new GrpcServer();
  server.addService(AdminServiceService, {
    getStatus: (_: object, done: (error: null, response: GetStatusResponse) => void) => {
      done(null, GetStatusResponse.fromPartial({ kind: 3, id, address: `${id}:1`, clusterId: 'c' }));
    },
  } as never);
  servers.push(() => server.forceShutdown());
  return listenGrpc(server);
}

test('a port of a membership process is told as what it is not', async () => {
  const endpoint = await membershipProcess();
  for (const args of [['get', 'k'], ['put', 'k', 'v'], ['keys'], ['explain', 'k'], ['bench']]) {
    const { code, stdout, stderr } = await cartwheel([...args, '--endpoint', endpoint]);
    assert.match(stderr, /^cartwheel: [^\n]*it is not a router or storage node[^\n]*\(--endpoint or [^\n]*\n$/);
    assert.deepEqual([code, stdout], [1, ''], args.join(' '));
  }
  const status = await cartwheel(['status', '--endpoint', endpoint]);
  assert.match(status.stdout, /member-\d:1 +membership +member-\d /);
});

test('status shows every endpoint, whether it is a member or not', async () => {
  members = 0;
  const endpoints = [await membershipProcess(), await membershipProcess(), '127.0.0.1:1'];
  const { code, stdout, stderr } = await cartwheel(['status', '--endpoint', endpoints.join(), '-o', 'json']);
  assert.deepEqual(
    JSON.parse(stdout).processes.map(({ id, kind, reachable }: Record<string, unknown>) => [id, kind, reachable]),
    [
      ['member-1', 'membership', true],
      ['member-2', 'membership', true],
      ['', undefined, false],
    ],
  );
  assert.match(stderr, /cannot reach 127\.0\.0\.1:1 \(no answer\)/);
  assert.equal(code, 1);
});

test('a port that does not speak gRPC is told, with what it speaks', async () => {
  const http = await listening(createHttpServer((_, response) => response.end('hello')));
  const ssh = await listening(createServer((socket) => socket.on('error', () => {}).write('SSH-2.0-none\r\n')));
  const answers = await Promise.all([http, ssh].map((endpoint) => cartwheel(['get', 'k', '--endpoint', endpoint])));
  const [first, second] = answers.map(({ stderr }) => stderr);
  assert.match(first as string, new RegExp(`cannot reach ${http} \\(it is not a router or .* HTTP/1, as an admin`));
  assert.match(second as string, new RegExp(`cannot reach ${ssh} \\(it is not a router or .* does not speak gRPC\\)`));
});

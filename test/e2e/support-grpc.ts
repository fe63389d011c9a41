/** gRPC as a stranger speaks it: health, reflection, and calls made from nothing but reflected descriptors. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type Client, credentials, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer, loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { protoPath as healthProtoPath } from 'grpc-health-check';

const reflectionProtoPath = join(
  dirname(createRequire(import.meta.url).resolve('@grpc/reflection')),
  '../proto/grpc/reflection/v1/reflection.proto',
);
const options = { keepCase: true, enums: String, longs: String, defaults: true };
const reflection = loadSync(reflectionProtoPath, options);
const health = loadSync(healthProtoPath, options);

type UnaryMethod = (request: object, done: (error: Error | null, response: unknown) => void) => void;

/** One unary call on a channel of its own. */
export function call(
  definition: PackageDefinition,
  address: string,
  service: string,
  method: string,
  request: object = {},
): Promise<Record<string, unknown>> {
  const client = clientOf(definition, service, address);
  return new Promise<Record<string, unknown>>((resolve, reject) => {
    (Reflect.get(client, method) as UnaryMethod).call(client, request, (error, response) => {
      if (error) reject(error);
      else resolve(response as Record<string, unknown>);
    });
  }).finally(() => client.close());
}

/** What grpc.health.v1 says of a service; '' is the whole process. */
export async function healthOf(address: string, service = ''): Promise<string> {
  return String((await call(health, address, 'grpc.health.v1.Health', 'Check', { service })).status);
}

export async function reflectedServices(address: string): Promise<string[]> {
  const answer = await reflect(address, { list_services: '' });
  const { service } = answer.list_services_response as { service: { name: string }[] };
  return service.map(({ name }) => name).sort();
}

/** The definition of a service and of all that its messages use. */
export async function reflectedDefinition(address: string, symbol: string): Promise<PackageDefinition> {
  const answer = await reflect(address, { file_containing_symbol: symbol });
  const found = answer.file_descriptor_response as { file_descriptor_proto: Buffer[] } | null;
  if (!found) throw new Error(`${address} has no descriptor of ${symbol}: ${JSON.stringify(answer)}`);
  return loadFileDescriptorSetFromBuffer(descriptorSetOf(found.file_descriptor_proto), options);
}

function reflect(address: string, request: object): Promise<Record<string, unknown>> {
  const client = clientOf(reflection, 'grpc.reflection.v1.ServerReflection', address);
  const stream = (Reflect.get(client, 'ServerReflectionInfo') as () => ReflectionStream).call(client);
  return new Promise<Record<string, unknown>>((resolve, reject) => {
    stream.on('data', resolve);
    stream.on('error', reject);
    stream.write(request);
    stream.end();
  }).finally(() => client.close());
}

type ReflectionStream = NodeJS.ReadWriteStream & { write(request: object): boolean };

/** A FileDescriptorSet: field 1, repeated, length-delimited. */
function descriptorSetOf(files: readonly Buffer[]): Buffer {
  return Buffer.concat(files.flatMap((file) => [Buffer.from([0x0a, ...varint(file.length)]), file]));
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

function clientOf(definition: PackageDefinition, service: string, address: string): Client {
  let found: unknown = loadPackageDefinition(definition);
  for (const name of service.split('.')) found = Reflect.get(found as object, name);
  const ServiceClient = found as ServiceClientConstructor;
  return new ServiceClient(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
}

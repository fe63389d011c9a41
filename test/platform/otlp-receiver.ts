/** A collector of OpenTelemetry traces in this process: takes OTLP over HTTP in protobuf, and keeps the spans. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BinaryReader } from '@bufbuild/protobuf/wire';

export interface ReceivedSpan {
  /** `service.name` and `service.instance.id` of its process. */
  readonly service: string;
  readonly instance: string;
  readonly traceId: string;
  readonly id: string;
  /** Empty: the first of its trace. */
  readonly parentId: string;
  readonly name: string;
  readonly kind: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly isError: boolean;
}

export interface OtlpReceiver {
  /** http://host:port */
  readonly endpoint: string;
  readonly spans: readonly ReceivedSpan[];
  close(): Promise<void>;
}

const kinds = ['UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'];
const statusError = 2;

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const isOne = request.url === '/v1/traces' && request.headers['content-type'] === 'application/x-protobuf';
    if (isOne) spans.push(...spansOf(Buffer.concat(chunks)));
    response.writeHead(isOne ? 200 : 404, { 'content-type': 'application/x-protobuf' }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** The fields of a message by number, each as often as it is there (opentelemetry/proto, trace/v1 and common/v1). */
function fieldsOf(bytes: Uint8Array): (field: number) => (Uint8Array | bigint)[] {
  const fields = new Map<number, (Uint8Array | bigint)[]>();
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    const values = fields.get(field) ?? [];
    fields.set(field, values);
    if (type === 2) values.push(reader.bytes());
    else if (type === 0) values.push(BigInt(reader.uint64()));
    else if (type === 1) values.push(BigInt(reader.fixed64()));
    else reader.skip(type, field);
  }
  return (field) => fields.get(field) ?? [];
}

function spansOf(request: Uint8Array): ReceivedSpan[] {
  return messages(fieldsOf(request)(1)).flatMap((resourceSpans) => {
    const [resource] = messages(resourceSpans(1));
    const process = resource === undefined ? {} : attributesOf(resource(1));
    return messages(resourceSpans(2)).flatMap((scopeSpans) =>
      messages(scopeSpans(2)).map((span) => {
        const [status] = messages(span(15));
        return {
          service: process['service.name'] ?? '',
          instance: process['service.instance.id'] ?? '',
          traceId: hex(span(1)),
          id: hex(span(2)),
          parentId: hex(span(4)),
          name: text(span(5)),
          kind: kinds[Number(span(6)[0] ?? 0)] ?? '',
          attributes: attributesOf(span(9)),
          isError: status !== undefined && Number(status(3)[0] ?? 0) === statusError,
        };
      }),
    );
  });
}

function messages(values: readonly (Uint8Array | bigint)[]) {
  return values.map((value) => fieldsOf(value as Uint8Array));
}

function attributesOf(values: readonly (Uint8Array | bigint)[]): Record<string, string> {
  return Object.fromEntries(
    messages(values).map((attribute) => {
      const [value] = messages(attribute(2));
      const number = value?.(3)[0];
      return [text(attribute(1)), number === undefined ? text(value?.(1) ?? []) : String(number)];
    }),
  );
}

function text([value]: readonly (Uint8Array | bigint)[]): string {
  return value === undefined ? '' : Buffer.from(value as Uint8Array).toString();
}

function hex([value]: readonly (Uint8Array | bigint)[]): string {
  return value === undefined ? '' : Buffer.from(value as Uint8Array).toString('hex');
}

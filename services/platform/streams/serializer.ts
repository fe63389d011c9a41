/**
 * How messages of streams become bytes: by ts-proto's encoders, all with one writer, whose buffer has grown to the size of a
 * frame long ago. One writer each begins with 128 bytes, and copies what it has with every doubling.
 */
import { BinaryWriter } from '@bufbuild/protobuf/wire';

/** What one message more has made of the buffer is not kept: 16 frames. */
const keptBytesMax = 1024 * 1024;

let writer = new BinaryWriter();

export interface Encoder<Message> {
  encode(message: Message, writer: BinaryWriter): BinaryWriter;
}

export function serializer<Message>({ encode }: Encoder<Message>): (message: Message) => Buffer {
  return (message) => {
    const used = writer;
    // Whatever is thrown halfway leaves no part of this message in the next one.
    writer = new BinaryWriter();
    const bytes = encode(message, used).finish();
    if (bytes.length <= keptBytesMax) writer = used;
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

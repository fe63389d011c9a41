/**
 * Who is at the other end of a connection on this machine. Each process of the cluster dials from an address of the
 * loopback network that is its own (dial-from.c), so a glance at a connection tells; this process itself dials from
 * 127.0.0.1.
 *
 * (To find the socket in the tables of /proc, and the process that has it open, takes 10 ms of a machine that is busy. As
 * nodes that cannot connect dial again and again, proxies that did that had no time left for anything else.)
 *
 * Where that cannot be had (no Linux, no C compiler), all look like this process: what is cut off from the clients is
 * then cut off from everybody, and nothing is cut between two processes alone.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileLibrary } from './preload.ts';

export interface Diallers {
  /** Why all look like this process; undefined: they do not. */
  readonly obstacle: string | undefined;
  /** To start the process of that name with. */
  environmentOf(name: string): Readonly<Record<string, string>>;
  /** Undefined for this process. */
  nameOf(address: string | undefined): string | undefined;
}

const source = fileURLToPath(new URL('dial-from.c', import.meta.url));
/** 127.0.0.1 is everybody's; two bytes are more than there will be processes. */
const addressOf = (place: number) => `127.0.${1 + (place >> 7)}.${1 + (place & 127)}`;

export async function prepareDiallers(directory: string): Promise<Diallers> {
  const library = join(directory, 'dial-from.so');
  const obstacle = await compileLibrary(source, library);
  const names: string[] = [];
  return {
    obstacle,
    environmentOf(name) {
      if (obstacle !== undefined) return {};
      if (!names.includes(name)) names.push(name);
      return { LD_PRELOAD: library, DIAL_FROM: addressOf(names.indexOf(name)) };
    },
    nameOf: (address) => names.find((_, place) => addressOf(place) === address),
  };
}

/**
 * Which process is at the other end of a connection on this machine: the kernel's table of TCP sockets gives the
 * inode of the one with that port, and a process that has it open lists it among its files (proc(5)).
 *
 * Only Linux has these tables; elsewhere, and for a process that is gone already, the answer is undefined.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** One of `pids`, of the process whose socket has `port` on the loopback address. */
export function processOfPort(port: number, pids: readonly number[]): number | undefined {
  const inode = inodeOfPort(port);
  if (inode === undefined) return undefined;
  const wanted = `socket:[${inode}]`;
  return pids.find((pid) => filesOf(pid).includes(wanted));
}

/** `sl local_address rem_address st tx:rx tr:tm->when retrnsmt uid timeout inode …`, addresses in hexadecimal. */
function inodeOfPort(port: number): string | undefined {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of textOf('/proc/net/tcp').split('\n')) {
    const columns = line.trim().split(/\s+/);
    if (columns[1] === local && columns[9] !== '0') return columns[9];
  }
  return undefined;
}

function filesOf(pid: number): string[] {
  const directory = `/proc/${pid}/fd`;
  try {
    return readdirSync(directory).map((file) => linkOf(`${directory}/${file}`));
  } catch {
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

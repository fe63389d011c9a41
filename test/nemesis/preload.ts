/** Small libraries in C that are compiled here and loaded into the processes of a cluster before all others (ld.so(8)). */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Why it cannot be done here; undefined: `library` is there. */
export async function compileLibrary(source: string, library: string): Promise<string | undefined> {
  if (process.platform !== 'linux') return `LD_PRELOAD is needed, this is ${process.platform}`;
  try {
    await promisify(execFile)('cc', ['-shared', '-fPIC', '-o', library, source, '-ldl']);
    return undefined;
  } catch (error) {
    return `a C compiler (cc) is needed: ${error instanceof Error ? error.message.split('\n')[0] : error}`;
  }
}

/** Environments of one process, the libraries of all of them loaded. */
export function withPreloads(
  ...environments: readonly Readonly<Record<string, string>>[]
): Readonly<Record<string, string>> {
  const libraries = environments.flatMap(({ LD_PRELOAD }) => LD_PRELOAD ?? []);
  return { ...Object.assign({}, ...environments), ...(libraries.length > 0 && { LD_PRELOAD: libraries.join(':') }) };
}

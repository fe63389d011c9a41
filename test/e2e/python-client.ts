/**
 * A client of others: the Python one that grpcio-tools makes of our contract, in a directory of its own. Nothing of it is
 * kept. What it does is examples/python/basket.py, as it is.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../../', import.meta.url));
const tools = 'grpcio-tools==1.85.1';
/** Stops a hang: of an installation, or of the script. */
const hangMs = 180_000;

export interface PythonClient {
  /** Runs the script against a router or a storage node, and resolves with what it printed. */
  run(address: string): Promise<unknown>;
  close(): Promise<void>;
}

/** Or why there is none on this machine. */
export async function makePythonClient(): Promise<PythonClient | string> {
  const directory = await mkdtemp(join(tmpdir(), 'cartwheel-python-'));
  const python = join(directory, 'venv', 'bin', 'python');
  const close = () => rm(directory, { recursive: true, force: true });
  try {
    await execute('python3', '-m', 'venv', join(directory, 'venv'));
    await execute(python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', tools);
  } catch (error) {
    await close();
    const [why] = String((error as { stderr?: string }).stderr || error)
      .trim()
      .split('\n')
      .slice(-1);
    return `no Python client: ${tools} cannot be installed (${why})`;
  }
  const out = [`--python_out=${directory}`, `--grpc_python_out=${directory}`];
  await execute(python, '-m', 'grpc_tools.protoc', '-I', join(root, 'proto'), ...out, 'cartwheel/kv/v1/kv.proto');
  return {
    async run(address) {
      const script = join(root, 'examples/python/basket.py');
      const options = { env: { ...process.env, PYTHONPATH: directory }, timeout: hangMs };
      const { stdout } = await promisify(execFile)(python, [script, address], options);
      return JSON.parse(stdout);
    },
    close,
  };
}

function execute(command: string, ...args: string[]) {
  return promisify(execFile)(command, args, { timeout: hangMs });
}

/** What the script prints when all is well. */
export const basketWanted = {
  siblings: 2,
  items: ['apple', 'bread', 'milk', 'pear'],
  afterMerge: 1,
  inSession: Array.from({ length: 3 }, () => ['apple', 'bread', 'milk', 'pear']),
  refused: 'REASON_KEY_EMPTY',
  afterDelete: 0,
};

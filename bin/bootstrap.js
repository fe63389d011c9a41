#!/usr/bin/env node
/**
 * What every entry script does first, on any Node from 20 on: install what is missing, see that the pinned Node 24
 * is there, generate the code of the contracts when it is older than they are. All of it says what it does on
 * stderr; stdout belongs to the command.
 *
 * As a program of its own (`npm run generate`) it does just that.
 *
 * I1 One process at a time installs or generates in a clone. Another that wants to waits: `npm ci` begins by removing
 *    what is installed, also what `npm start` in another terminal is just installing, or has just started from.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const WANTED_HOST_MAJOR = 20;
const WANTED_MAJOR = 24;
const PASSED_ON = ['SIGINT', 'SIGTERM', 'SIGHUP'];
const PARENT_LOOK_MS = 500;
/** Has the process id of whoever installs or generates. */
const LOCK = join(root, '.bootstrap.lock');
const LOCK_LOOK_MS = 200;
/** A lock without a process id that is older was left by a process that died before it wrote it. */
const LOCK_WRITTEN_MS = 2_000;
const GENERATED = join(root, 'proto', 'gen');
/** The contracts that gRPC reflection shows, as descriptors. */
const DESCRIBED = ['proto', 'node_modules/grpc-health-check/proto'];
const DESCRIPTORS = ['--as-file-descriptor-set', '--exclude-source-info'];

/** Installs and generates as needed; returns the path of a Node 24. Ends the process where that cannot be. */
export function bootstrap() {
  if (Number.parseInt(process.versions.node, 10) < WANTED_HOST_MAJOR) {
    fail(`Node ${WANTED_HOST_MAJOR} or newer is needed to start, this is ${process.version}`);
  }
  whileAlone(isInstallStale, () => {
    say('installing the packages of package-lock.json (npm ci): a minute, at the first start');
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    run(npm, ['ci', '--no-audit', '--no-fund'], 'npm ci failed; its output above says why');
  });
  const node = findNode();
  whileAlone(isGeneratedStale, () => generate(node));
  return node;
}

/** Does what is wanted, unless somebody else has done it meanwhile. */
function whileAlone(isWanted, make) {
  if (!isWanted()) return;
  takeLock();
  const release = () => rmSync(LOCK, { force: true });
  process.once('exit', release);
  if (isWanted()) make();
  process.off('exit', release);
  release();
}

function takeLock() {
  for (let hasTold = false; ; pause(LOCK_LOOK_MS)) {
    try {
      writeFileSync(LOCK, String(process.pid), { flag: 'wx' });
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') fail(`cannot write ${LOCK}: ${error.message}`);
    }
    const holder = lockHolder();
    if (holder === undefined) rmSync(LOCK, { force: true });
    else if (!hasTold) say(`waiting for process ${holder}, which installs in this clone (it is named in ${LOCK})`);
    hasTold ||= holder !== undefined;
  }
}

/** Undefined where that process is gone. */
function lockHolder() {
  try {
    const pid = Number.parseInt(readFileSync(LOCK, 'utf8'), 10);
    if (Number.isNaN(pid)) return Date.now() - statSync(LOCK).mtimeMs < LOCK_WRITTEN_MS ? 'that begins' : undefined;
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    return error.code === 'EPERM' ? 'of somebody else' : undefined;
  }
}

function pause(ms) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/**
 * Runs a script of the project with Node 24 and ends as it ends. Signals go on to it, and the channel between the
 * two tells it when this process is gone, however it went. npm gives no such channel to this process: when npm is gone
 * (it passes on signals, but not SIGKILL) that shows only in another parent. What Node makes of the sources is kept: a service starts
 * with a third of the processor time.
 */
export function runWithNode(node, args) {
  const env = { NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'compiled'), ...process.env };
  const child = spawn(node, args, { stdio: ['inherit', 'inherit', 'inherit', 'ipc'], env });
  for (const signal of PASSED_ON) process.on(signal, () => child.kill(signal));
  if (process.env.npm_lifecycle_event !== undefined) {
    const npm = process.ppid;
    const look = () => process.ppid === npm || child.kill('SIGTERM');
    setInterval(look, PARENT_LOOK_MS).unref();
  }
  child.on('error', (error) => fail(`cannot run ${node}: ${error.message}`));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}

/** Runs a command to its end with its output on stderr. */
export function run(command, args, complaint) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (status !== 0) fail(error ? `${complaint} (${error.message})` : complaint);
}

export function say(text) {
  process.stderr.write(`cartwheel: ${text}\n`);
}

export function fail(text) {
  say(text);
  process.exit(1);
}

/** A file of node_modules/.bin. */
export function tool(name) {
  return join(root, 'node_modules', '.bin', process.platform === 'win32' ? `${name}.cmd` : name);
}

/** npm writes the hidden lockfile when it has finished: an install that was cut off has none. */
function isInstallStale() {
  const installed = join(root, 'node_modules', '.package-lock.json');
  return !existsSync(installed) || statSync(join(root, 'package-lock.json')).mtimeMs > statSync(installed).mtimeMs;
}

function findNode() {
  const pinned = join(root, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  const seen = spawnSync(pinned, ['--version'], { encoding: 'utf8' }).stdout?.trim();
  if (seen?.startsWith(`v${WANTED_MAJOR}.`)) return pinned;
  // Where the package `node` has no binary for this machine, or install scripts are off, the host's own will do.
  if (process.version.startsWith(`v${WANTED_MAJOR}.`)) return process.execPath;
  return fail(
    `wanted Node ${WANTED_MAJOR} in node_modules/node, saw ${seen ?? 'none'}; ` +
      'try "npm rebuild node" (install scripts must be allowed), or run this with Node 24 itself',
  );
}

function isGeneratedStale() {
  const stamp = join(GENERATED, '.sources');
  return !existsSync(stamp) || readFileSync(stamp, 'utf8') !== fingerprintOfSources();
}

function generate(node) {
  say('generating proto/gen from proto/ (buf generate)');
  // Made beside and then moved, so that whoever imports it meanwhile sees the old or the new one.
  const scratch = join(root, 'node_modules', `.cartwheel-gen-${process.pid}`);
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  const buf = join('node_modules', '@bufbuild', 'buf', 'bin', 'buf');
  run(node, [buf, 'generate', '--output', scratch], 'buf generate failed');
  const described = DESCRIBED.map((folder, i) => {
    const file = join(scratch, `${i}.binpb`);
    run(node, [buf, 'build', folder, ...DESCRIPTORS, '--output', file], 'buf build failed');
    return readFileSync(file);
  });
  // Two messages of one type, one after the other, are their union.
  writeFileSync(join(scratch, 'proto', 'gen', 'descriptors.binpb'), Buffer.concat(described));
  writeFileSync(join(scratch, 'proto', 'gen', '.sources'), fingerprintOfSources());
  if (existsSync(GENERATED)) renameSync(GENERATED, join(scratch, 'replaced'));
  renameSync(join(scratch, 'proto', 'gen'), GENERATED);
  rmSync(scratch, { recursive: true, force: true });
}

/** By content, because switching branches and clones make times meaningless. */
function fingerprintOfSources() {
  const hash = createHash('sha256');
  const contracts = readdirSync(join(root, 'proto'), { recursive: true })
    .filter((file) => file.endsWith('.proto'))
    .sort();
  const makers = ['node_modules/ts-proto/package.json', 'node_modules/grpc-health-check/package.json'];
  const files = [...contracts.map((file) => join('proto', file)), 'buf.gen.yaml', ...makers];
  for (const file of files) hash.update(`${file}\n`).update(readFileSync(join(root, file)));
  return `${hash.digest('hex')}\n`;
}

if (process.argv[1] !== undefined && fileURLToPath(import.meta.url) === process.argv[1]) bootstrap();

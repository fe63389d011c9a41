import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flameGraph, roomOf } from './graph.ts';
import { addProfile, type CpuProfile, newCall, selfTimes } from './profile.ts';

const frame = (functionName: string, url = '') => ({ functionName, url, lineNumber: 6 });

/** 3 ms in put, 1 of them in what it called, 1 ms of collecting, 5 ms of nothing, and 2 ms of beginning the profile. */
const profile: CpuProfile = {
  nodes: [
    { id: 1, callFrame: frame('(root)'), children: [2, 4, 5, 6] },
    { id: 2, callFrame: frame('put', 'file:///clone/services/core/put.ts'), children: [3] },
    { id: 3, callFrame: frame('', 'file:///else/node_modules/%40grpc/grpc-js/call.js') },
    { id: 4, callFrame: frame('(garbage collector)') },
    { id: 5, callFrame: frame('(idle)') },
    { id: 6, callFrame: frame('', 'file:///else/test/bench/flame/profile-on-signal.ts'), children: [7] },
    { id: 7, callFrame: frame('post', 'node:inspector') },
  ],
  samples: [2, 2, 3, 4, 5, 7],
  timeDeltas: [1_000, 1_000, 1_000, 1_000, 5_000, 2_000],
};

function treeOf(...profiles: CpuProfile[]) {
  const root = newCall('all', '');
  for (const one of profiles) addProfile(root, one, '/clone');
  return root;
}

test('what has the same way to it is added up, and neither waiting nor the profiler is work', () => {
  const root = treeOf(profile, profile);
  assert.equal(root.total, 8_000);
  const [put] = [...root.calls.values()];
  assert.deepEqual([put?.name, put?.file, put?.total, put?.self], ['put', 'services/core/put.ts', 6_000, 4_000]);
  assert.deepEqual(
    [...(put?.calls.values() ?? [])].map(({ name, file }) => [name, file]),
    [['(line 7)', 'node_modules/@grpc/grpc-js/call.js']],
  );
});

test('shares of the parts of the program add up to all of it', () => {
  const shares = selfTimes(treeOf(profile), (call) => roomOf(call).name);
  assert.deepEqual(shares, [
    ['services/core', 0.5],
    ['grpc-js', 0.25],
    ['garbage collection', 0.25],
  ]);
});

test('each call that can be seen has a box as wide as its share', () => {
  const svg = flameGraph(treeOf(profile), 'puts & gets');
  assert.match(svg, /puts &amp; gets/);
  assert.match(svg, /<title>put, services\/core\/put\.ts: 75\.0%<\/title><rect x="300\.0" y="60" width="900\.0"/);
});

test('what has no file is below JavaScript', () => {
  assert.equal(roomOf({ name: '(program)', file: '' }).name, 'below JavaScript');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barPlot, linePlot, ninesAxis, powersOfTenAxis, shareAxis } from './plot.ts';

test('each further nine of a percentile is as far from the last as that one was', () => {
  const { place } = ninesAxis('percentile', 3);
  assert.deepEqual(
    [0, 90, 99, 99.9].map((percentile) => Number(place(percentile).toFixed(6))),
    [0, 0.333333, 0.666667, 1],
  );
});

test('an axis of powers of ten has room for all its values, even for one alone', () => {
  const axis = powersOfTenAxis('ms', [0.3, 250]);
  assert.deepEqual(
    axis.ticks.map(({ at }) => at),
    [0.1, 1, 10, 100, 1000],
  );
  assert.equal(axis.place(1), 0.25);
  assert.ok(Number.isFinite(powersOfTenAxis('ms', [10]).place(10)));
});

test('a line is drawn from the lower left corner to the upper right one', () => {
  const line = {
    name: 'a line',
    colour: 'red',
    dashed: false,
    points: [
      { x: 1, y: 0 },
      { x: 10, y: 1 },
    ],
  };
  const svg = linePlot([line], powersOfTenAxis('bytes', [1, 10]), shareAxis('share'));
  assert.match(svg, /<path d="M60\.0 390\.0L740\.0 20\.0" fill="none" stroke="red"/);
  assert.match(svg, /a line/);
});

test('bars are as high as their values, and each name stands once below them', () => {
  const bars = (value: number) => [{ name: 'etcd', colour: 'blue', value }];
  const svg = barPlot(
    [
      { title: '64', bars: bars(500) },
      { title: '256', bars: bars(1000) },
    ],
    'ops/s',
  );
  assert.deepEqual(
    [...svg.matchAll(/height="([\d.]+)" fill="blue"><title>/g)].map(([, height]) => Number(height)),
    [185, 370],
  );
  assert.equal(svg.match(/>etcd<\/text>/g)?.length, 1);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createPeerHealth,
  type Finding,
  lookEveryMs,
  probeMsMax,
  probeMsMin,
  silenceMs,
} from '../../services/core/quorum/peer-health.ts';

/** Connected, and looked at as often as is asked for. */
function setup() {
  const health = createPeerHealth();
  health.connected(0);
  let now = 0;
  const found: [number, Finding][] = [];
  return {
    health,
    found,
    now: () => now,
    pass(ms: number) {
      const until = now + ms;
      while (now < until) {
        now += lookEveryMs;
        if (!health.watchful) continue;
        const finding = health.look(now, 0.5);
        if (finding !== 'nothing') found.push([now, finding]);
      }
    },
  };
}

test('a node is trusted while it is connected and answers', () => {
  const { health, pass, now, found } = setup();
  for (let i = 0; i < 50; i++) {
    health.sent(now());
    pass(silenceMs - lookEveryMs);
    health.heard(now(), 0);
  }
  assert.ok(health.trusted);
  assert.deepEqual(found, []);
});

test('a node that is asked nothing is not suspected, however long it is silent', () => {
  const { health, pass } = setup();
  pass(100 * silenceMs);
  assert.ok(health.trusted);
  assert.ok(!health.watchful, 'and nobody looks');
});

test('a node that owes an answer and is silent is suspected, and is not before', () => {
  const { health, pass, found, now } = setup();
  health.sent(now());
  pass(silenceMs - lookEveryMs);
  assert.ok(health.trusted);
  pass(lookEveryMs);
  assert.ok(!health.trusted);
  assert.deepEqual(found, [[silenceMs, 'suspect']]);
});

test('whatever is heard counts, not the answer to the oldest question alone', () => {
  const { health, pass, now } = setup();
  health.sent(now());
  for (let i = 0; i < 5; i++) {
    pass(silenceMs - lookEveryMs);
    health.heard(now(), 1);
  }
  assert.ok(health.trusted);
  pass(silenceMs);
  assert.ok(!health.trusted);
});

test('a suspected node is probed ever more rarely, up to a bound, and trusted at the first answer', () => {
  const { health, pass, found, now } = setup();
  health.sent(now());
  pass(silenceMs + 20 * probeMsMax);
  const probes = found.filter(([, finding]) => finding === 'probe').map(([at]) => at);
  const gaps = probes.slice(1).map((at, i) => at - (probes[i] as number));
  assert.ok((probes[0] as number) - silenceMs <= probeMsMin + lookEveryMs);
  assert.deepEqual(
    gaps,
    gaps.toSorted((a, b) => a - b),
  );
  assert.equal(gaps.at(-1), probeMsMax);
  health.heard(now(), 0);
  assert.ok(health.trusted);
});

test('I2: when this process itself stood still nobody is suspected for it', () => {
  const { health, now } = setup();
  health.sent(now());
  assert.equal(health.look(60_000, 0.5), 'nothing');
  assert.ok(health.trusted);
  assert.equal(health.look(60_000 + lookEveryMs, 0.5), 'nothing');
});

test('a lost connection is no way, and a new one is trusted', () => {
  const { health, pass, now } = setup();
  health.sent(now());
  pass(2 * silenceMs);
  health.lost();
  assert.ok(!health.trusted && !health.watchful);
  health.connected(now());
  assert.ok(health.trusted);
});

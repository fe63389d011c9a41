import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { selectReplicas } from '../../services/core/quorum/sloppy.ts';

const preference = ['a', 'b', 'c', 'd', 'e', 'f'];

function select(coordinator: string, down: readonly string[], strict = false) {
  return selectReplicas({ preference, replicas: 3, coordinator, strict, reachable: (id) => !down.includes(id) });
}

const shown = ({ chosen }: ReturnType<typeof select>) =>
  chosen.map(({ nodeId, standsInFor }) => (standsInFor === undefined ? nodeId : `${nodeId}:${standsInFor}`)).join(' ');

test('with all homes in reach the homes are chosen, the coordinator first', () => {
  assert.equal(shown(select('b', [])), 'b a c');
  assert.deepEqual(select('b', []).spare(), ['d', 'e', 'f']);
  assert.deepEqual(select('b', []).unmet, []);
});

test('each home that cannot be reached has the next fallback that can', () => {
  assert.equal(shown(select('b', ['a', 'd'])), 'b c e:a');
  assert.equal(shown(select('a', ['b', 'c'])), 'a d:b e:c');
});

test('with no home in reach fallbacks stand in for all of them', () => {
  assert.equal(shown(select('e', ['a', 'b', 'c'])), 'e:b d:a f:c');
});

test('homes that nobody is left for are unmet', () => {
  const selection = select('a', ['b', 'c', 'd', 'e']);
  assert.equal(shown(selection), 'a f:b');
  assert.deepEqual(selection.unmet, ['c']);
});

test('a coordinator that others come before takes the place of the last of them', () => {
  assert.equal(shown(select('f', [])), 'f:c a b');
});

test('strict: nobody stands in', () => {
  const selection = select('a', ['b'], true);
  assert.equal(shown(selection), 'a c');
  assert.deepEqual([selection.spare(), selection.unmet], [[], ['b']]);
});

test('whoever is down: distinct nodes, at most N, the coordinator among them, each home met once or unmet', () => {
  const nodes = fc.uniqueArray(fc.integer({ min: 0, max: 30 }).map(String), { minLength: 1, maxLength: 12 });
  const cases = nodes.chain((ids) =>
    fc.record({
      ids: fc.constant(ids),
      replicas: fc.integer({ min: 1, max: ids.length }),
      coordinator: fc.constantFrom(...ids),
      down: fc.subarray(ids),
    }),
  );
  fc.assert(
    fc.property(cases, ({ ids, replicas, coordinator, down }) => {
      const reachable = (id: string) => !down.includes(id);
      const { chosen, spare, unmet } = selectReplicas({
        preference: ids,
        replicas,
        coordinator,
        strict: false,
        reachable,
      });
      const asked = [...chosen.map(({ nodeId }) => nodeId), ...spare()];
      assert.equal(new Set(asked).size, asked.length);
      assert.ok(chosen.length <= replicas);
      assert.equal(chosen[0]?.nodeId, coordinator);
      for (const id of asked) assert.ok(id === coordinator || reachable(id));
      const homes = ids.slice(0, replicas);
      const met = chosen.map(({ nodeId, standsInFor }) => standsInFor ?? nodeId);
      assert.deepEqual([...met, ...unmet].sort(), [...homes].sort());
    }),
  );
});

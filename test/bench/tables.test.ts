import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withSection } from './tables.ts';

const page = 'before\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nafter\n';

test('a section is replaced, and what is around it stays', () => {
  const wanted = 'before\n<!-- figures: begin -->\n\nnew\n\n<!-- figures: end -->\nafter\n';
  assert.equal(withSection(page, 'figures', 'new\n'), wanted);
  assert.equal(withSection(wanted, 'figures', 'new'), wanted);
});

test('a page without the section is refused', () => {
  assert.throws(() => withSection(page, 'others', 'new'), /no section between <!-- others: begin -->/);
});

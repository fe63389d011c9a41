/** docs/errors.md is the published list of reasons: it holds exactly those of kv.proto, with their codes. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { Reason } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import type { ReasonName } from '../../services/core/failure.ts';
import { reasonCode } from '../../services/platform/errors.ts';

const document = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
const rows = [...document.matchAll(/^\| `([A-Z_]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/gm)];

test('docs/errors.md lists exactly the reasons of kv.proto, in their order', () => {
  const documented = rows.map(([, name]) => name);
  const ofTheContract = Object.keys(Reason).filter((name) => name !== 'UNSPECIFIED');
  assert.deepEqual(documented, ofTheContract);
});

test('docs/errors.md gives each reason the code that is sent', () => {
  for (const [, name, codes, outcome, meaning] of rows) {
    const outcomes = (['NOT_APPLIED', 'UNKNOWN'] as const).filter(
      (each) => outcome === 'either' || outcome?.includes(each),
    );
    assert.ok(outcomes.length > 0, `${name}: ${outcome}`);
    const sent = new Set(outcomes.map((each) => status[reasonCode(name as ReasonName, each)]));
    const written = [...(codes ?? '').matchAll(/`([A-Z_]+)`/g)].map(([, code]) => code);
    assert.deepEqual(new Set(written), sent, name);
    assert.match(meaning ?? '', /^\S.*\.$/s, name);
  }
});

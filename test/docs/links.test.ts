/** Pages lead to files and headings that are there. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);
const pages = ['README.md', 'UPGRADING.md', 'helm/cartwheel/README.md'].concat(
  readdirSync(fileURLToPath(new URL('docs', root)), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md'))
    .map((path) => `docs/${path}`),
);

/** As GitHub names them. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

test('every link of every page leads to a file that is there, and to a heading in it', () => {
  let links = 0;
  for (const page of pages) {
    const at = new URL(page, root);
    const text = readFileSync(at, 'utf8').replaceAll(/^```.*?^```/gms, '');
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      links++;
      const [path = '', anchor] = target.split('#');
      const to = path === '' ? at : new URL(path, at);
      assert.ok(existsSync(to), `${page}: ${target}`);
      if (anchor !== undefined) assert.ok(anchorsOf(readFileSync(to, 'utf8')).includes(anchor), `${page}: ${target}`);
    }
  }
  assert.ok(links > 80, `${links} links`);
});

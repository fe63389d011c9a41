/** A strict reader of Prometheus' text format 0.0.4: what it does not understand is an error. */
import assert from 'node:assert/strict';

export interface Sample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

export interface Family {
  readonly help: string;
  readonly type: string;
  readonly samples: Sample[];
}

const LABEL = /^([a-zA-Z_]\w*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)/;

export function parsePrometheusText(text: string): Map<string, Family> {
  assert.ok(text.endsWith('\n'), 'the last line ends');
  const families = new Map<string, Family>();
  const seen = new Set<string>();
  let help: { name: string; text: string } | undefined;
  let current: { name: string; family: Family } | undefined;
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.*)$/.exec(line);
    if (comment) {
      const [, kind, name = '', rest = ''] = comment;
      if (kind === 'HELP') {
        help = { name, text: unescaped(rest) };
        continue;
      }
      assert.match(rest, /^(counter|gauge|histogram|summary|untyped)$/, line);
      assert.equal(help?.name, name, `HELP before ${line}`);
      assert.ok(!families.has(name), `one TYPE for ${name}`);
      current = { name, family: { help: help?.text ?? '', type: rest, samples: [] } };
      families.set(name, current.family);
      continue;
    }
    const sample = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    assert.ok(sample, `a line that is no sample: ${line}`);
    const [, name = '', labelText = '', valueText = ''] = sample;
    assert.ok(current, `a sample before any TYPE: ${line}`);
    const suffixes = current.family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
    assert.ok(
      suffixes.some((suffix) => name === `${current?.name}${suffix}`),
      `${name} under ${current.name}`,
    );
    assert.ok(!seen.has(`${name}{${labelText}}`), `twice: ${line}`);
    seen.add(`${name}{${labelText}}`);
    current.family.samples.push({ name, labels: parseLabels(labelText, line), value: parseValue(valueText, line) });
  }
  for (const [name, family] of families) if (family.type === 'histogram') checkHistogram(name, family);
  return families;
}

function parseLabels(text: string, line: string): Map<string, string> {
  const labels = new Map<string, string>();
  let rest = text;
  while (rest !== '') {
    const label = LABEL.exec(rest);
    assert.ok(label, `labels: ${line}`);
    const [whole, name = '', value = ''] = label;
    assert.ok(!labels.has(name), `label ${name} twice: ${line}`);
    labels.set(name, unescaped(value));
    rest = rest.slice(whole.length);
  }
  return labels;
}

function parseValue(text: string, line: string): number {
  if (text === '+Inf') return Number.POSITIVE_INFINITY;
  if (text === '-Inf') return Number.NEGATIVE_INFINITY;
  if (text === 'NaN') return Number.NaN;
  const value = Number(text);
  assert.ok(!Number.isNaN(value), `value: ${line}`);
  return value;
}

function checkHistogram(name: string, family: Family): void {
  const series = new Map<string, { bounds: number[]; counts: number[]; count: number | undefined }>();
  for (const sample of family.samples) {
    const key = [...sample.labels].filter(([label]) => label !== 'le').join(';');
    const one = series.get(key) ?? { bounds: [], counts: [], count: undefined };
    series.set(key, one);
    if (sample.name === `${name}_bucket`) {
      one.bounds.push(parseValue(sample.labels.get('le') ?? '', name));
      one.counts.push(sample.value);
    }
    if (sample.name === `${name}_count`) one.count = sample.value;
  }
  for (const { bounds, counts, count } of series.values()) {
    assert.deepEqual(
      bounds,
      bounds.toSorted((a, b) => a - b),
    );
    assert.deepEqual(
      counts,
      counts.toSorted((a, b) => a - b),
      `${name} is cumulative`,
    );
    assert.equal(bounds.at(-1), Number.POSITIVE_INFINITY);
    assert.equal(counts.at(-1), count, `${name}: the last bucket is the count`);
  }
}

function unescaped(text: string): string {
  return text.replaceAll(/\\(.)/g, (_, character) => (character === 'n' ? '\n' : character));
}

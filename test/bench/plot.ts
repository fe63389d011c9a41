/** Plots as SVG: lines over two axes, and bars in groups. Pure. */
export interface Line {
  readonly name: string;
  readonly colour: string;
  readonly dashed: boolean;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

export interface Axis {
  readonly title: string;
  /** 0 at the beginning of the axis, 1 at its end. */
  readonly place: (value: number) => number;
  readonly ticks: readonly { readonly at: number; readonly text: string }[];
}

export interface Bars {
  readonly title: string;
  readonly bars: readonly { readonly name: string; readonly colour: string; readonly value: number }[];
}

const WIDTH = 760;
const HEIGHT = 440;
const LEFT = 60;
const RIGHT = 20;
const TOP = 20;
const BOTTOM = 50;
const LEGEND_LINE = 20;

/** From 0 to 1, marked in fifths. */
export function shareAxis(title: string): Axis {
  const fifths = [0, 2, 4, 6, 8, 10].map((tenths) => ({ at: tenths / 10, text: (tenths / 10).toFixed(1) }));
  return { title, place: (value) => value, ticks: fifths };
}

/** Logarithmic, from the power of ten at or below the least of the values to that at or above the greatest. */
export function powersOfTenAxis(title: string, values: readonly number[]): Axis {
  const exponents = values.map(Math.log10);
  const low = Math.floor(Math.min(...exponents));
  const high = Math.max(low + 1, Math.ceil(Math.max(...exponents)));
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => {
    const at = 10 ** (low + i);
    return { at, text: at.toLocaleString('en') };
  });
  return { title, place: (value) => (Math.log10(value) - low) / (high - low), ticks };
}

/** Percentiles from 0 to below 100, each further nine as far from the last: 0, 90, 99, 99.9, … */
export function ninesAxis(title: string, nines: number): Axis {
  const place = (percentile: number) => -Math.log10(1 - percentile / 100) / nines;
  const ticks = [0, 50, ...Array.from({ length: nines }, (_, i) => 100 - 100 / 10 ** (i + 1))].map((at) => ({
    at,
    text: `${Number(at.toFixed(nines))}%`,
  }));
  return { title, place, ticks };
}

/** The names of the lines stand in the corner that is said. */
export function linePlot(
  lines: readonly Line[],
  x: Axis,
  y: Axis,
  names: 'bottom right' | 'top left' = 'bottom right',
): string {
  const px = (value: number) => LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
  const py = (value: number) => TOP + (1 - y.place(value)) * (HEIGHT - TOP - BOTTOM);
  const parts: string[] = [];
  for (const { at, text } of x.ticks) {
    const place = px(at).toFixed(1);
    parts.push(`<path d="M${place} ${TOP}V${HEIGHT - BOTTOM}" stroke="#ddd"/>`);
    parts.push(`<text x="${place}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${text}</text>`);
  }
  parts.push(...yTicks(y, py));
  const [legendX, legendY] =
    names === 'top left'
      ? [LEFT + 12, TOP + 16]
      : [WIDTH - 330, HEIGHT - BOTTOM - 14 - LEGEND_LINE * (lines.length - 1)];
  for (const [i, { name, colour, dashed, points }] of lines.entries()) {
    const stroke = `stroke="${colour}" stroke-width="2"${dashed ? ' stroke-dasharray="6 6"' : ''}`;
    const at = points.map((point) => `${px(point.x).toFixed(1)} ${py(point.y).toFixed(1)}`);
    parts.push(`<path d="M${at.join('L')}" fill="none" ${stroke}/>`);
    const line = legendY + LEGEND_LINE * i;
    parts.push(`<path d="M${legendX} ${line}h24" ${stroke}/>`);
    parts.push(`<text x="${legendX + 32}" y="${line + 4}">${name}</text>`);
  }
  parts.push(titleBelow(x.title), titleBeside(y.title));
  return svg(`${y.title} by ${x.title}`, parts);
}

const BAR_GAP = 24;

/** Groups beside each other, each with its bars, their values written over them. */
export function barPlot(groups: readonly Bars[], yTitle: string): string {
  const most = Math.max(1, ...groups.flatMap(({ bars }) => bars.map(({ value }) => value)));
  const step = 10 ** Math.floor(Math.log10(most));
  const high = Math.ceil(most / step) * step;
  const steps = Array.from({ length: Math.round(high / step) + 1 }, (_, i) => i * step);
  const y = {
    title: yTitle,
    place: (value: number) => value / high,
    ticks: steps.map((at) => ({ at, text: at.toLocaleString('en') })),
  };
  const py = (value: number) => TOP + (1 - y.place(value)) * (HEIGHT - TOP - BOTTOM);
  const groupWidth = (WIDTH - LEFT - RIGHT) / groups.length;
  const parts = yTicks(y, py);
  for (const [i, { title, bars }] of groups.entries()) {
    const left = LEFT + i * groupWidth + BAR_GAP / 2;
    const barWidth = (groupWidth - BAR_GAP) / bars.length;
    for (const [j, { name, colour, value }] of bars.entries()) {
      const at = left + j * barWidth;
      const box = `x="${at.toFixed(1)}" y="${py(value).toFixed(1)}" width="${(barWidth - 2).toFixed(1)}"`;
      const height = (HEIGHT - BOTTOM - py(value)).toFixed(1);
      parts.push(`<rect ${box} height="${height}" fill="${colour}"><title>${name}</title></rect>`);
      const middle = (at + barWidth / 2).toFixed(1);
      const text = Math.round(value).toLocaleString('en');
      parts.push(
        `<text x="${middle}" y="${(py(value) - 4).toFixed(1)}" text-anchor="middle" font-size="11">${text}</text>`,
      );
    }
    const middle = (left + (groupWidth - BAR_GAP) / 2).toFixed(1);
    parts.push(`<text x="${middle}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${title}</text>`);
  }
  const named = new Map(groups.flatMap(({ bars }) => bars.map(({ name, colour }) => [name, colour] as const)));
  const width = (WIDTH - LEFT - RIGHT) / Math.max(1, named.size);
  for (const [i, [name, colour]] of [...named].entries()) {
    const at = LEFT + i * width;
    parts.push(`<rect x="${at.toFixed(1)}" y="${HEIGHT - 18}" width="12" height="12" fill="${colour}"/>`);
    parts.push(`<text x="${(at + 18).toFixed(1)}" y="${HEIGHT - 8}">${name}</text>`);
  }
  parts.push(titleBeside(yTitle));
  return svg(yTitle, parts);
}

function yTicks(y: Axis, py: (value: number) => number): string[] {
  return y.ticks.flatMap(({ at, text }) => {
    const place = py(at).toFixed(1);
    return [
      `<path d="M${LEFT} ${place}H${WIDTH - RIGHT}" stroke="#ddd"/>`,
      `<text x="${LEFT - 8}" y="${place}" text-anchor="end" dy="4">${text}</text>`,
    ];
  });
}

function titleBelow(title: string): string {
  return `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${title}</text>`;
}

function titleBeside(title: string): string {
  return `<text transform="translate(16 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">${title}</text>`;
}

function svg(title: string, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="13">
<title>${title}</title>
<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>
${parts.join('\n')}
</svg>
`;
}

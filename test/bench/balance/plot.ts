/** A line plot over a logarithmic x axis as SVG. */
export interface Line {
  readonly name: string;
  readonly colour: string;
  readonly dashed: boolean;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

const WIDTH = 760;
const HEIGHT = 440;
const LEFT = 60;
const RIGHT = 20;
const TOP = 20;
const BOTTOM = 50;

/** y goes from 0 to 1. */
export function plot(lines: readonly Line[], xTitle: string, yTitle: string): string {
  const xs = lines.flatMap((line) => line.points.map((point) => Math.log10(point.x)));
  const low = Math.floor(Math.min(...xs));
  const high = Math.ceil(Math.max(...xs));
  const px = (x: number) => LEFT + ((Math.log10(x) - low) / (high - low)) * (WIDTH - LEFT - RIGHT);
  const py = (y: number) => TOP + (1 - y) * (HEIGHT - TOP - BOTTOM);
  const parts: string[] = [];
  for (let exponent = low; exponent <= high; exponent++) {
    const x = px(10 ** exponent).toFixed(1);
    parts.push(`<path d="M${x} ${TOP}V${HEIGHT - BOTTOM}" stroke="#ddd"/>`);
    parts.push(
      `<text x="${x}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${(10 ** exponent).toLocaleString('en')}</text>`,
    );
  }
  for (let tenths = 0; tenths <= 10; tenths += 2) {
    const y = py(tenths / 10).toFixed(1);
    parts.push(`<path d="M${LEFT} ${y}H${WIDTH - RIGHT}" stroke="#ddd"/>`);
    parts.push(`<text x="${LEFT - 8}" y="${y}" text-anchor="end" dy="4">${(tenths / 10).toFixed(1)}</text>`);
  }
  for (const [i, { name, colour, dashed, points }] of lines.entries()) {
    const stroke = `stroke="${colour}" stroke-width="2"${dashed ? ' stroke-dasharray="6 6"' : ''}`;
    const at = points.map(({ x, y }) => `${px(x).toFixed(1)} ${py(y).toFixed(1)}`);
    parts.push(`<path d="M${at.join('L')}" fill="none" ${stroke}/>`);
    const y = HEIGHT - BOTTOM - 14 - 20 * (lines.length - 1 - i);
    parts.push(`<path d="M${WIDTH - 330} ${y}h24" ${stroke}/>`);
    parts.push(`<text x="${WIDTH - 298}" y="${y + 4}">${name}</text>`);
  }
  parts.push(`<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${xTitle}</text>`);
  parts.push(`<text transform="translate(16 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">${yTitle}</text>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="13">
<title>${yTitle} by ${xTitle}</title>
<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>
${parts.join('\n')}
</svg>
`;
}

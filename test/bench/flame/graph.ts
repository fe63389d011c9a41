/**
 * A flame graph as SVG (Gregg 2013): each box is a call, as wide as its share of the time, below it what it called.
 * Neighbours are in the order of their names, so that two graphs can be compared by eye. Pure.
 */
import type { Call } from './profile.ts';

const WIDTH = 1200;
const ROW = 16;
const TOP = 44;
/** Narrower boxes are left out: nobody can read them, and most of the file would be they. */
const LEAST_SHARE = 0.002;
const CHARACTER = 6.2;

/** What a call belongs to, by its file; the first that matches. */
export const rooms = [
  { name: 'services/core', colour: '#7fc97f', matches: /^services\/core\// },
  { name: 'storage node', colour: '#beaed4', matches: /^services\/storage-node\// },
  { name: 'platform', colour: '#fdc086', matches: /^services\// },
  { name: 'protobuf', colour: '#ffd92f', matches: /^proto\/|@bufbuild/ },
  { name: 'grpc-js', colour: '#80b1d3', matches: /grpc-js/ },
  { name: 'Node', colour: '#cccccc', matches: /^node:/ },
  { name: 'garbage collection', colour: '#e78ac3', matches: /^\(garbage collector\)$/ },
  { name: 'below JavaScript', colour: '#a6a6a6', matches: /^[^/:]+$/ },
  { name: 'other', colour: '#eeeeee', matches: /(?:)/ },
] as const;

export function roomOf({ name, file }: Pick<Call, 'name' | 'file'>): (typeof rooms)[number] {
  return rooms.find(({ matches }) => matches.test(file === '' ? name : file)) ?? (rooms[rooms.length - 1] as never);
}

export function flameGraph(root: Call, title: string): string {
  const boxes: string[] = [];
  let deepest = 0;
  const draw = (call: Call, left: number, depth: number) => {
    const share = call.total / root.total;
    if (share < LEAST_SHARE) return;
    deepest = Math.max(deepest, depth);
    const width = share * WIDTH;
    const y = TOP + depth * ROW;
    const what = `${call.name}${call.file === '' ? '' : `, ${call.file}`}: ${(100 * share).toFixed(1)}%`;
    const box = `<rect x="${left.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${ROW - 1}" fill="${roomOf(call).colour}"/>`;
    const room = Math.floor((width - 4) / CHARACTER);
    const text =
      room < 3 ? '' : `<text x="${(left + 2).toFixed(1)}" y="${y + 11}">${escaped(call.name.slice(0, room))}</text>`;
    boxes.push(`<g><title>${escaped(what)}</title>${box}${text}</g>`);
    let at = left;
    for (const below of [...call.calls.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      draw(below, at, depth + 1);
      at += (below.total / root.total) * WIDTH;
    }
  };
  draw(root, 0, 0);
  const height = TOP + (deepest + 1) * ROW + 6;
  const legend = rooms.map(({ name, colour }, i) => {
    const x = 4 + i * 132;
    return `<rect x="${x}" y="22" width="12" height="12" fill="${colour}"/><text x="${x + 16}" y="32">${name}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="10">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="white"/>`,
    `<text x="4" y="14" font-size="12">${escaped(title)}</text>`,
    ...legend,
    ...boxes,
    '</svg>\n',
  ].join('\n');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

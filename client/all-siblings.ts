/**
 * All siblings of a key, those too that did not fit into one answer: who writes with the context of a get removes
 * whatever that context covers, and must have seen it.
 */
import type { CartwheelClient, GetAnswer, GetOptions, Key, Sibling } from './index.ts';

const attemptsMax = 5;

/**
 * The answer with none omitted, or undefined where siblings that an answer named were gone each time they were asked
 * for: others write to this key without pause, or a replica that alone holds one has gone away.
 */
export async function getAll(
  client: Pick<CartwheelClient, 'get'>,
  key: Key,
  options: Omit<GetOptions, 'maxBytes'> = {},
): Promise<GetAnswer | undefined> {
  // A dot names one value for ever: what one attempt has fetched serves the next.
  const known = new Map<string, Sibling>();
  const keep = (siblings: readonly Sibling[]) => {
    for (const sibling of siblings) known.set(sibling.dot, sibling);
  };
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const answer = await client.get(key, options);
    keep(answer.siblings);
    for (let missing = missingOf(answer, known); missing.length > 0; missing = missingOf(answer, known)) {
      const { siblings } = await client.get(key, { ...options, dots: missing });
      if (siblings.length === 0) break;
      keep(siblings);
    }
    if (missingOf(answer, known).length > 0) continue;
    const rest = answer.omitted.map((dot) => known.get(dot) as Sibling);
    return { ...answer, siblings: [...answer.siblings, ...rest], omitted: [] };
  }
  return undefined;
}

function missingOf({ omitted }: GetAnswer, known: ReadonlyMap<string, Sibling>): string[] {
  return omitted.filter((dot) => !known.has(dot));
}

/**
 * How the key of a record is made from its fields.
 *
 *   id                     the field `id`
 *   owner.name             the field `name` of the field `owner`, unless there is a field called `owner.name`
 *   {country}/{name}       a template: paths in braces, the rest as it stands; {{ and }} are braces
 */

export interface KeyTemplate {
  /** Throws a KeyMissing that says which field is not there. */
  keyOf(record: unknown): string;
}

export class KeyMissing extends Error {
  override readonly name = 'KeyMissing';
}

/** The template is none; the message says why. */
export class TemplateInvalid extends Error {
  override readonly name = 'TemplateInvalid';
}

export function keyTemplate(text: string): KeyTemplate {
  if (text === '') throw new TemplateInvalid('it is empty');
  if (!/[{}]/.test(text)) return { keyOf: (record) => fieldOf(record, text) };
  const parts = partsOf(text);
  if (parts.every((part) => 'literal' in part)) throw new TemplateInvalid('it names no field');
  return {
    keyOf: (record) => parts.map((part) => ('literal' in part ? part.literal : fieldOf(record, part.path))).join(''),
  };
}

type Part = { readonly literal: string } | { readonly path: string };

function partsOf(text: string): Part[] {
  const parts: Part[] = [];
  for (const [token] of text.matchAll(/\{\{|\}\}|\{[^{}]+\}|[^{}]+|[{}]/g)) {
    if (token === '{{' || token === '}}') parts.push({ literal: token.charAt(0) });
    else if (token.length > 1 && token.startsWith('{')) parts.push({ path: token.slice(1, -1) });
    else if (token === '{' || token === '}') {
      throw new TemplateInvalid(`a '${token}' stands alone; a brace itself is written ${token}${token}`);
    } else parts.push({ literal: token });
  }
  return parts;
}

function fieldOf(record: unknown, path: string): string {
  const value = ownField(record, path) ?? path.split('.').reduce<unknown>(ownField, record);
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
    case 'boolean':
      return String(value);
    default:
      throw new KeyMissing(
        `field '${path}' is ${value === undefined ? 'missing' : value === null ? 'null' : 'no text'}`,
      );
  }
}

function ownField(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

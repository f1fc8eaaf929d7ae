/**
 * A few words to write JSON schemas with. `viewSchema` is tied to a TypeScript type: a field that is
 * missing or misspelt in the schema does not compile, so the OpenAPI document cannot fall behind.
 */

export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

export const text: JsonSchema = { type: 'string' };
export const flag: JsonSchema = { type: 'boolean' };
export const number: JsonSchema = { type: 'number' };
export const count: JsonSchema = { type: 'integer', minimum: 0 };
export const time: JsonSchema = { type: 'string', format: 'date-time' };

export function described(schema: JsonSchema, description: string): JsonSchema {
  return { ...schema, description };
}

export function nullable(schema: JsonSchema): JsonSchema {
  if (typeof schema['type'] === 'string') return { ...schema, type: [schema['type'], 'null'] };
  return { anyOf: [schema, { type: 'null' }] };
}

export function oneOf(values: readonly string[]): JsonSchema {
  return { type: 'string', enum: values };
}

export function nullableOneOf(values: readonly string[]): JsonSchema {
  return { type: ['string', 'null'], enum: [...values, null] };
}

export function list(items: JsonSchema): JsonSchema {
  return { type: 'array', items };
}

export function record(values: JsonSchema): JsonSchema {
  return { type: 'object', additionalProperties: values };
}

/** A reference to a schema that `viewSchema` made. */
export function ref(name: string): JsonSchema {
  return { $ref: `${name}#` };
}

/** An answer or a part of one: every field present, none besides. `name` is its name in the OpenAPI document. */
export function viewSchema<View>(
  name: string,
  properties: { readonly [Field in keyof Required<View>]: JsonSchema },
): JsonSchema {
  return { $id: name, ...objectSchema(properties, Object.keys(properties)) };
}

/** What a caller sends: `required` fields and optional ones; unknown ones are refused by name. */
export function objectSchema(
  properties: Readonly<Record<string, JsonSchema>>,
  required: readonly string[],
): JsonSchema {
  return { type: 'object', additionalProperties: false, required, properties };
}

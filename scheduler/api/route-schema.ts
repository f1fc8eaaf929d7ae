/** Parts that the schemas of routes share. */
import type { JsonSchema } from './json-schema.ts';
import { described, objectSchema, ref, text } from './json-schema.ts';

/** Answers that every route may give besides its own. */
export const errorResponses: Readonly<Record<string, JsonSchema>> = {
  '4xx': { ...ref('Error'), description: 'Refused; the message says why' },
  '5xx': { ...ref('Error'), description: 'Not possible now; the message says why' },
};

/** The schema of a route, as fastify and the OpenAPI document want it. */
export function describeRoute(
  tag: string,
  summary: string,
  response: JsonSchema,
  parts: Readonly<Record<string, unknown>> = {},
) {
  return {
    tags: [tag],
    summary,
    ...parts,
    response: { 200: { description: 'Done', ...response }, ...errorResponses },
  };
}

export function pathParameter(name: string, description: string): JsonSchema {
  return objectSchema({ [name]: described(text, description) }, [name]);
}

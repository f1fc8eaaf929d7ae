/**
 * Turns everything that can go wrong with a request into an `ErrorView` and a status: our own
 * errors, schema violations (which say field, given, allowed), and what fastify throws by itself.
 * Stack traces and internal texts never leave: they go to the log under the request's id.
 */
import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { ERROR_CODES, StorageError } from '../../shared/base/errors.ts';
import type { ErrorView } from '../../shared/model/api-views.ts';
import type { Log } from '../../shared/ports.ts';
import type { JsonSchema } from './json-schema.ts';

export interface ErrorAnswer {
  readonly status: number;
  readonly view: ErrorView;
}

type SchemaViolation = NonNullable<FastifyError['validation']>[number];

/** Refusals of fastify itself, before any handler ran: what they mean for the caller. */
const REFUSALS: Readonly<Record<string, string>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'The body of the request is too large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'The body of a request must be "application/json"',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'The body is not as long as its content-length says',
};

export function answerError(error: unknown, requestId: string): ErrorAnswer {
  if (error instanceof StorageError) {
    return {
      status: ERROR_CODES[error.code].http,
      view: { code: error.code, message: error.message, details: error.details },
    };
  }
  if (isFastifyError(error)) {
    if (error.validation !== undefined) return answerViolation(error);
    const status = error.statusCode ?? 500;
    if (status >= 400 && status < 500) {
      const message = REFUSALS[error.code] ?? `The request cannot be read: ${error.message}`;
      return { status, view: { code: 'invalid-argument', message, details: {} } };
    }
  }
  return {
    status: 500,
    view: {
      code: 'internal',
      message: `The scheduler failed to answer; its log says more under request "${requestId}"`,
      details: { requestId },
    },
  };
}

/** The handler for `setErrorHandler`. Only failures of our own are logged as errors. */
export function errorHandler(log: Log) {
  return (error: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    const answer = answerError(error, request.id);
    if (answer.status === 500) {
      const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
      log('error', 'API request failed', {
        requestId: request.id,
        method: request.method,
        url: request.url,
        stack,
      });
    }
    void reply.status(answer.status).type('application/json').send(answer.view);
  };
}

/** What is no HTTP at all gets an answer, too, and its connection closed. */
export function answerGarbage(error: Error, socket: Socket): void {
  // The peer is gone, or has its answer already: nothing to say, nobody to hear it.
  if (!socket.writable || ('code' in error && error.code === 'ECONNRESET')) {
    socket.destroy();
    return;
  }
  const view: ErrorView = {
    code: 'protocol',
    message: 'What arrived is no HTTP request',
    details: {},
  };
  const body = JSON.stringify(view);
  const head = [
    'HTTP/1.1 400 Bad Request',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

function isFastifyError(error: unknown): error is FastifyError {
  return error instanceof Error && ('code' in error || 'statusCode' in error);
}

function answerViolation(error: FastifyError): ErrorAnswer {
  const where = error.validationContext ?? 'request';
  const violation = error.validation?.[0];
  const { field, given, allowed } =
    violation === undefined
      ? { field: where, given: undefined, allowed: 'see /docs' }
      : describeViolation(violation, where);
  const shown = given === undefined ? 'missing' : clip(JSON.stringify(given));
  return {
    status: ERROR_CODES['invalid-argument'].http,
    view: {
      code: 'invalid-argument',
      message: `Field "${field}" is ${shown}, allowed: ${allowed}`,
      details: { field, given: given ?? null, allowed },
    },
  };
}

/** An error message repeats at most this much of what the caller sent. */
const GIVEN_CHARACTERS_MAX = 200;

function clip(shown: string): string {
  return shown.length <= GIVEN_CHARACTERS_MAX ? shown : `${shown.slice(0, GIVEN_CHARACTERS_MAX)}…`;
}

interface Violation {
  readonly field: string;
  readonly given: unknown;
  readonly allowed: string;
}

/** With ajv's `verbose`, a violation carries the value and the schema it was held against. */
function describeViolation(violation: SchemaViolation, where: string): Violation {
  const { data, parentSchema } = violation as SchemaViolation & {
    data?: unknown;
    parentSchema?: JsonSchema;
  };
  const path = violation.instancePath.slice(1).replaceAll('/', '.');
  const prefix = path === '' ? '' : `${path}.`;
  const properties = asRecord(parentSchema?.['properties']);
  if (violation.keyword === 'required') {
    const missing = String(violation.params['missingProperty']);
    return {
      field: `${prefix}${missing}`,
      given: undefined,
      allowed: describeSchema(asRecord(properties[missing])),
    };
  }
  if (violation.keyword === 'additionalProperties') {
    const unknownField = String(violation.params['additionalProperty']);
    const known = Object.keys(properties);
    return {
      field: `${prefix}${unknownField}`,
      given: asRecord(data)[unknownField],
      allowed: known.length === 0 ? 'no fields' : `the fields ${known.map(quote).join(', ')}`,
    };
  }
  return {
    field: path === '' ? where : path,
    given: data,
    allowed: describeSchema(parentSchema ?? {}),
  };
}

function quote(word: unknown): string {
  return JSON.stringify(word);
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** A schema in words: `integer, at least 1, at most 5`. */
function describeSchema(schema: JsonSchema): string {
  const allowed = schema['enum'];
  const words: string[] = [];
  if (Array.isArray(allowed)) words.push(`one of ${allowed.map(quote).join(', ')}`);
  else words.push([schema['type'] ?? 'any value'].flat().join(' or '));
  if (schema['minProperties'] !== undefined) {
    words.push(
      `at least one of ${Object.keys(asRecord(schema['properties'])).map(quote).join(', ')}`,
    );
  }
  if (schema['minimum'] !== undefined) words.push(`at least ${String(schema['minimum'])}`);
  if (schema['exclusiveMinimum'] !== undefined) {
    words.push(`above ${String(schema['exclusiveMinimum'])}`);
  }
  if (schema['maximum'] !== undefined) words.push(`at most ${String(schema['maximum'])}`);
  if (schema['minLength'] !== undefined) words.push('not empty');
  if (schema['maxLength'] !== undefined) {
    words.push(`at most ${String(schema['maxLength'])} characters`);
  }
  return words.join(', ');
}

/**
 * How the master is convinced of who we are, and we of who it is: Basic authentication with a principal
 * and its secret (what Mesos itself has), or headers from a command or a module (for authenticators that
 * are modules of Mesos, such as tokens of an identity service), and TLS with an authority of the operator's
 * choice. Reads the settings and the files they name once; makes the provider of the headers.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describeError, invalidField, StorageError } from '../../shared/base/errors.ts';
import type { HeaderFields, TlsSettings } from '../../shared/node/mesos-connection.ts';
import type { Clock } from '../../shared/ports.ts';

/** Where the headers of every request to the master come from. */
export type Authorization =
  | { readonly kind: 'none' }
  | { readonly kind: 'basic'; readonly principal: string; readonly secret: string }
  /** Run by `sh -c`; prints `Name: value` lines, or one JSON object. */
  | { readonly kind: 'command'; readonly command: string }
  /** An ES module that exports `headers()`, which returns (a promise of) an object. */
  | { readonly kind: 'module'; readonly path: string };

export interface MasterAccess {
  readonly authorization: Authorization;
  /** Named by the credential file; null when there is none. */
  readonly principal: string | null;
  /** null: the authorities that the system trusts, and no certificate of our own. */
  readonly tls: TlsSettings | null;
}

export interface HeaderProvider {
  /** Remembered until `forget`. Rejects with `unavailable` when they cannot be had. */
  headers(): Promise<HeaderFields>;
  /** The master did not take them: the next call fetches them again. */
  forget(): void;
}

/** Looks a setting up: option on the command line, then variable without its prefix. */
export type FindSetting = (option: string, variable: string) => string | null;

/** Throws `invalid-argument` naming the setting. `secret`: given without a file. */
export function readMasterAccess(find: FindSetting, secret: string | null): MasterAccess {
  const credentialFile = find('credential-file', 'CREDENTIAL_FILE');
  const secretFile = find('secret-file', 'SECRET_FILE');
  const command = find('auth-command', 'AUTH_COMMAND');
  const module = find('auth-module', 'AUTH_MODULE');
  const ways = [credentialFile, secretFile, command, module].filter((one) => one !== null);
  if (ways.length > 1) {
    throw invalidField(
      'the way to authenticate',
      'several',
      'one of --credential-file, --secret-file, --auth-command and --auth-module',
    );
  }
  const tls = readTls(find);
  if (command !== null)
    return { authorization: { kind: 'command', command }, principal: null, tls };
  if (module !== null) {
    const path = isAbsolute(module) ? module : resolve(module);
    return { authorization: { kind: 'module', path }, principal: null, tls };
  }
  if (credentialFile !== null) {
    const name = '--credential-file (CISTERN_CREDENTIAL_FILE)';
    const credential = parseCredential(name, credentialFile, readText(name, credentialFile));
    const { principal } = credential;
    return { authorization: { kind: 'basic', ...credential }, principal, tls };
  }
  const principal = find('principal', 'PRINCIPAL') ?? 'cistern';
  const found =
    secretFile === null
      ? secret
      : readText('--secret-file (CISTERN_SECRET_FILE)', secretFile).trim();
  if (found === null) return { authorization: { kind: 'none' }, principal: null, tls };
  return { authorization: basic('the secret', principal, found), principal: null, tls };
}

function readText(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw invalidField(name, path, describeError(error));
  }
}

/** JSON `{"principal", "secret"}`, Mesos' own `{"credentials": [{…}]}`, or two lines: principal, secret. */
export function parseCredential(
  name: string,
  path: string,
  text: string,
): { readonly principal: string; readonly secret: string } {
  const [principal, secret, ...rest] = text.trim().startsWith('{')
    ? credentialOfJson(text)
    : text
        .trim()
        .split(/\r?\n/)
        .map((line) => line.trim());
  if (rest.length > 0 || !principal || !secret) {
    throw invalidField(
      name,
      path,
      'JSON with "principal" and "secret", or two lines: the principal and its secret',
    );
  }
  const { kind: _, ...credential } = basic(name, principal, secret);
  return credential;
}

function credentialOfJson(text: string): string[] {
  try {
    const whole = JSON.parse(text) as Record<string, unknown>;
    const list = whole['credentials'];
    const one = Array.isArray(list) && list.length === 1 ? list[0] : whole;
    const { principal, secret } = one as { principal?: unknown; secret?: unknown };
    return typeof principal === 'string' && typeof secret === 'string' ? [principal, secret] : [];
  } catch {
    // The message of the parser could show the secret.
    return [];
  }
}

/** Mesos splits at every colon and wants exactly two parts: with another one it can never match. */
function basic(
  name: string,
  principal: string,
  secret: string,
): { readonly kind: 'basic'; readonly principal: string; readonly secret: string } {
  if (principal.includes(':')) throw invalidField(name, principal, 'a principal without a colon');
  if (secret.includes(':')) throw invalidField(name, '(a secret)', 'a secret without a colon');
  return { kind: 'basic', principal, secret };
}

function readTls(find: FindSetting): TlsSettings | null {
  const read = (option: string, variable: string): string | null => {
    const path = find(option, variable);
    return path === null ? null : readText(`--${option} (CISTERN_${variable})`, path);
  };
  const ca = read('master-ca-file', 'MASTER_CA_FILE');
  const cert = read('master-cert-file', 'MASTER_CERT_FILE');
  const key = read('master-key-file', 'MASTER_KEY_FILE');
  if ((cert === null) !== (key === null)) {
    const given = cert === null ? 'a key alone' : 'a certificate alone';
    throw invalidField('--master-cert-file and --master-key-file', given, 'both, or none');
  }
  const verify = find('master-verify', 'MASTER_VERIFY') ?? 'all';
  if (verify !== 'all' && verify !== 'authority' && verify !== 'none') {
    throw invalidField('--master-verify (CISTERN_MASTER_VERIFY)', verify, 'all, authority, none');
  }
  return ca === null && cert === null && verify === 'all' ? null : { ca, cert, key, verify };
}

// ── The headers ──────────────────────────────────────────────────────────────────────────────

/** A command or module that takes longer is as good as one that fails. */
const FETCH_MS = 10_000;
const OUTPUT_BYTES_MAX = 64 * 1024;

export function createHeaderProvider(authorization: Authorization, clock: Clock): HeaderProvider {
  let known: HeaderFields | null = null;
  return {
    async headers() {
      known ??= await fetchHeaders(authorization, clock);
      return known;
    },
    forget() {
      known = null;
    },
  };
}

/** Whether asking again may bring other headers: then one refusal is no reason to give up. */
export function canRefresh(authorization: Authorization): boolean {
  return authorization.kind === 'command' || authorization.kind === 'module';
}

async function fetchHeaders(authorization: Authorization, clock: Clock): Promise<HeaderFields> {
  switch (authorization.kind) {
    case 'none':
      return {};
    case 'basic': {
      const pair = `${authorization.principal}:${authorization.secret}`;
      return { authorization: `Basic ${Buffer.from(pair, 'utf8').toString('base64')}` };
    }
    case 'command':
      return parseHeaders(await runCommand(authorization.command));
    case 'module':
      return checkHeaders(await callModule(authorization.path, clock));
  }
}

function runCommand(command: string): Promise<string> {
  const options = {
    timeout: FETCH_MS,
    maxBuffer: OUTPUT_BYTES_MAX,
    killSignal: 'SIGKILL',
  } as const;
  return new Promise((done, fail) => {
    execFile('sh', ['-c', command], options, (error, output, complaint) => {
      if (error === null) done(output);
      // Never its output: there may be half a token in it.
      else
        fail(unavailable(`the command failed: ${complaint.trim().split('\n')[0] || error.code}`));
    });
  });
}

async function callModule(path: string, clock: Clock): Promise<unknown> {
  try {
    const module = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
    const { headers } = module as { headers?: () => unknown };
    if (typeof headers !== 'function') throw unavailable(`"${path}" exports no function "headers"`);
    return await new Promise((done, fail) => {
      const timer = clock.after(FETCH_MS, () => {
        fail(unavailable(`"${path}" gave none within ${FETCH_MS} ms`));
      });
      Promise.resolve(headers())
        .then(done, fail)
        .finally(() => timer.cancel());
    });
  } catch (error) {
    if (error instanceof StorageError) throw error;
    throw unavailable(describeError(error));
  }
}

/** What a command printed. */
export function parseHeaders(output: string): HeaderFields {
  const text = output.trim();
  if (text.startsWith('{')) {
    try {
      return checkHeaders(JSON.parse(text));
    } catch (error) {
      if (error instanceof StorageError) throw error;
      throw unavailable('the command printed no JSON');
    }
  }
  const pairs = text.split(/\r?\n/).map((line) => {
    const cut = line.indexOf(':');
    if (cut < 1) throw unavailable('the command printed a line that is not "Name: value"');
    return [line.slice(0, cut).trim(), line.slice(cut + 1).trim()];
  });
  return checkHeaders(Object.fromEntries(pairs));
}

/** These we set ourselves. */
const OURS = new Set(['content-type', 'accept', 'content-length', 'host', 'mesos-stream-id']);

function checkHeaders(value: unknown): HeaderFields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw unavailable('they are no object of names and values');
  }
  const fields: Record<string, string> = {};
  for (const [name, text] of Object.entries(value)) {
    const isName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) && !OURS.has(name.toLowerCase());
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they would end the header
    const isValue = typeof text === 'string' && !/[\x00-\x1f\x7f]/.test(text);
    if (!isName || !isValue) throw unavailable(`header "${name}" cannot be sent`);
    fields[name.toLowerCase()] = text;
  }
  if (Object.keys(fields).length === 0) throw unavailable('there are none');
  return fields;
}

function unavailable(why: string): StorageError {
  return new StorageError('unavailable', `Headers for the Mesos master cannot be had: ${why}`);
}

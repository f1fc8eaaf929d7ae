/** Basic authentication, the only kind that Mesos itself knows. */

import { HttpRefusal, type Request } from './http-server.ts';

/** Returns the principal, or undefined where nobody is asked. Throws 401 with the realm. */
export function authenticate(
  credentials: Readonly<Record<string, string>> | undefined,
  request: Request,
  realm: string,
): string | undefined {
  if (credentials === undefined) return undefined;
  const encoded = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
  const [principal, secret, ...rest] = Buffer.from(encoded, 'base64').toString('utf8').split(':');
  // A secret with a colon can never match: a real master splits into exactly two parts.
  const isRight =
    principal !== undefined &&
    secret !== undefined &&
    rest.length === 0 &&
    Object.hasOwn(credentials, principal) &&
    credentials[principal] === secret;
  if (isRight) return principal;
  throw new HttpRefusal(401, '401 Unauthorized.', { 'WWW-Authenticate': `Basic realm="${realm}"` });
}

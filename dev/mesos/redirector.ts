/**
 * A second master that does not lead: it sends API callers to the leader and answers for itself
 * else.
 */

import { answerJson, answerText, HttpRefusal, HttpServer } from './http-server.ts';
import { VERSION_ANSWER } from './master-core.ts';

/** `leader` as `host:port`, asked at every request; while it starts, nothing has a route. */
export function createRedirector(
  leader: () => string | undefined,
  isStarting: () => boolean,
): HttpServer {
  return new HttpServer((request) => {
    if (isStarting()) throw new HttpRefusal(404, '404 Not Found.');
    const path = request.path.replace(/^\/master(?=\/)/, '');
    if (path === '/health') answerText(request.response, 200, '');
    else if (path === '/version') answerJson(request.response, VERSION_ANSWER);
    else {
      const address = leader();
      if (address === undefined) answerText(request.response, 503, 'No leader elected');
      else {
        const query = request.query.size === 0 ? '' : `?${request.query.toString()}`;
        const target = path === '/redirect' ? '' : `/master${path}${query}`;
        answerText(request.response, 307, '', { Location: `//${address}${target}` });
      }
    }
  });
}

/**
 * A second master that does not lead: it sends API callers to the leader and answers for itself
 * else.
 */

import { answerJson, answerText, HttpServer } from './http-server.ts';
import { VERSION } from './master-core.ts';

/** `leader` as `host:port`, asked at every request. */
export function createRedirector(leader: () => string | undefined): HttpServer {
  return new HttpServer((request) => {
    const path = request.path.replace(/^\/master(?=\/)/, '');
    if (path === '/health') answerText(request.response, 200, '');
    else if (path === '/version') answerJson(request.response, { version: VERSION });
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

/**
 * Control links between executors and schedulers, and grants between executors, on simulated time: what
 * gRPC is in production. Links are ordered and reliable until they break; a blocked way delays, a dead
 * process resets, a host without power says nothing.
 */
import type {
  ControlDialer,
  ControlLink,
  ControlLinkHandlers,
} from '../../../executor/node-agent.ts';
import type { AnnouncePort, ControlPort } from '../../../scheduler/scheduler.ts';
import type { Announcement } from '../../../shared/model/announcement.ts';
import type {
  GrantReply,
  GrantRequest,
  ManagerMessage,
  NodeMessage,
} from '../../../shared/model/control.ts';
import { OrderedPath, type PathModules } from './ordered-path.ts';
import type { ProcessClock } from './process-clock.ts';

export interface ControlServerHandlers {
  onMessage(session: string, message: NodeMessage): void;
  onClose(session: string, reason: string): void;
}

export interface SimulatedControlServer extends ControlPort {
  /** The scheduler's process is gone: links are reset, nobody here hears anything any more. */
  crash(): void;
}

type GrantHandler = (request: GrantRequest) => GrantReply;

interface Granter {
  readonly clock: ProcessClock;
  readonly handler: GrantHandler;
  readonly onAnnouncement: (announcement: Announcement) => void;
}

export class SimulatedControl {
  readonly #modules: PathModules;
  readonly #servers = new Map<string, Server>();
  readonly #grants = new Map<string, Granter>();
  readonly #links = new Set<Link>();
  /** Longest time that one message takes. */
  delayMsMax = 2;
  readonly #delay = (): number => this.delayMsMax;

  constructor(modules: PathModules) {
    this.#modules = modules;
  }

  serve(
    address: string,
    clock: ProcessClock,
    handlers: ControlServerHandlers,
  ): SimulatedControlServer {
    const server: Server = { handlers, clock, links: new Map(), nextSession: 1 };
    this.#servers.set(address, server);
    return {
      send: (session, message) => server.links.get(session)?.sendDown(message),
      closeSession: (session, reason) => server.links.get(session)?.closeFromServer(reason),
      crash: () => {
        this.#servers.delete(address);
        for (const link of [...server.links.values()]) link.vanishServer();
      },
    };
  }

  /** Answers grants at `address` until the returned function is called. */
  serveGrants(
    address: string,
    clock: ProcessClock,
    handler: GrantHandler,
    onAnnouncement: Granter['onAnnouncement'] = () => undefined,
  ): () => void {
    const granter = { clock, handler, onAnnouncement };
    this.#grants.set(address, granter);
    return () => {
      if (this.#grants.get(address) === granter) this.#grants.delete(address);
    };
  }

  /** Announcements leave from `host`, and may get lost. */
  announcer(host: string): AnnouncePort {
    return {
      announce: (to, announcement) => {
        const path = new OrderedPath(host, hostOf(to), this.#delay, this.#modules);
        path.send(() => {
          const granter = this.#grants.get(to);
          granter?.clock.whenRunning(() => granter.onAnnouncement(announcement));
        });
      },
    };
  }

  dialer(host: string, clock: ProcessClock): ControlDialer {
    return {
      connect: (address, handlers) => {
        const link = new Link(this.#modules, { host, address, clock }, handlers, this.#delay);
        this.#links.add(link);
        link.onGone = () => this.#links.delete(link);
        link.open(() => this.#servers.get(address));
        return link;
      },
      askGrant: (address, request, timeoutMs, done) =>
        this.#askGrant({ host, address, clock }, request, timeoutMs, done),
    };
  }

  /** Breaks every link of a host; both sides are told. */
  cut(host: string): void {
    for (const link of [...this.#links]) if (link.host === host) link.reset();
  }

  /** The executor of a host is gone. `isSilent`: so is the machine, and the other side is not told. */
  crashHost(host: string, isSilent: boolean): void {
    for (const link of [...this.#links]) if (link.host === host) link.vanishNode(isSilent);
  }

  #askGrant(
    from: LinkPlace,
    request: GrantRequest,
    timeoutMs: number,
    done: (reply: GrantReply | null) => void,
  ): void {
    const to = hostOf(from.address);
    const there = new OrderedPath(from.host, to, this.#delay, this.#modules);
    const back = new OrderedPath(to, from.host, this.#delay, this.#modules);
    let isDone = false;
    const finish = (reply: GrantReply | null): void => {
      if (isDone || from.clock.isDead) return;
      isDone = true;
      from.clock.whenRunning(() => done(reply));
    };
    from.clock.after(timeoutMs, () => finish(null));
    there.send(() => {
      const granter = this.#grants.get(from.address);
      if (granter === undefined) back.send(() => finish(null));
      else {
        // A stopped process answers late.
        granter.clock.whenRunning(() => {
          const reply = granter.handler(request);
          back.send(() => finish(reply));
        });
      }
    });
  }
}

interface Server {
  readonly handlers: ControlServerHandlers;
  readonly clock: ProcessClock;
  readonly links: Map<string, Link>;
  nextSession: number;
}

interface LinkPlace {
  readonly host: string;
  readonly address: string;
  readonly clock: ProcessClock;
}

class Link implements ControlLink {
  readonly host: string;
  onGone: () => void = () => undefined;
  readonly #place: LinkPlace;
  readonly #handlers: ControlLinkHandlers;
  readonly #up: OrderedPath;
  readonly #down: OrderedPath;
  #server: Server | null = null;
  #session = '';
  #isNodeClosed = false;

  constructor(
    modules: PathModules,
    place: LinkPlace,
    handlers: ControlLinkHandlers,
    delayMsMax: () => number,
  ) {
    this.host = place.host;
    this.#place = place;
    this.#handlers = handlers;
    const server = hostOf(place.address);
    this.#up = new OrderedPath(place.host, server, delayMsMax, modules);
    this.#down = new OrderedPath(server, place.host, delayMsMax, modules);
  }

  open(find: () => Server | undefined): void {
    this.#up.send(() => {
      const server = find();
      if (server === undefined) {
        this.#down.send(() => this.#endNode('connection refused'));
        return;
      }
      this.#server = server;
      this.#session = `s${server.nextSession}`;
      server.nextSession += 1;
      server.links.set(this.#session, this);
    });
  }

  // ── The node's end ─────────────────────────────────────────────────────────────────────────

  send(message: NodeMessage): void {
    if (this.#isNodeClosed) return;
    this.#up.send(() => {
      const server = this.#server;
      if (server === null) this.#down.send(() => this.#endNode('connection reset'));
      else server.clock.whenRunning(() => server.handlers.onMessage(this.#session, message));
    });
  }

  close(reason: string): void {
    if (this.#isNodeClosed) return;
    this.#up.send(() => this.#endServer('the executor ended the session'));
    this.#place.clock.after(0, () => this.#endNode(reason));
  }

  vanishNode(isSilent: boolean): void {
    this.#isNodeClosed = true;
    this.onGone();
    if (!isSilent) this.#up.send(() => this.#endServer('the executor went away'));
  }

  // ── The server's end ───────────────────────────────────────────────────────────────────────

  sendDown(message: ManagerMessage): void {
    this.#down.send(() => {
      const { clock } = this.#place;
      if (!this.#isNodeClosed && !clock.isDead) {
        clock.whenRunning(() => {
          if (!this.#isNodeClosed) this.#handlers.onMessage(message);
        });
      } else this.#up.send(() => this.#endServer('connection reset'));
    });
  }

  closeFromServer(reason: string): void {
    this.#down.send(() => this.#endNode(reason));
    this.#endServer(reason);
  }

  vanishServer(): void {
    this.#forgetServer();
    this.#down.send(() => this.#endNode('connection reset'));
  }

  reset(): void {
    this.#endServer('connection reset');
    this.#endNode('connection reset');
  }

  #endServer(reason: string): void {
    const server = this.#server;
    if (server === null) return;
    this.#forgetServer();
    server.clock.whenRunning(() => server.handlers.onClose(this.#session, reason));
  }

  #forgetServer(): void {
    this.#server?.links.delete(this.#session);
    this.#server = null;
  }

  #endNode(reason: string): void {
    if (this.#isNodeClosed) return;
    this.#isNodeClosed = true;
    this.onGone();
    this.#place.clock.whenRunning(() => this.#handlers.onClose(reason));
  }
}

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':'));
}

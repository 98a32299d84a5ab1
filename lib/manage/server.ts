/**
 * The management API over HTTP: parses, asks the desk, answers. There is no authentication yet, so it listens on
 * loopback and guards against the one caller that reaches loopback uninvited: a web page (DNS rebinding, plain forms).
 */
import { isIP } from 'node:net';
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { BlockferryError, type ErrorCode } from '../base/errors.js';
import {
  MANAGE_BODY_BYTES_MAX,
  MANAGE_CONNECTIONS_MAX,
  MANAGE_IDLE_MS,
  MANAGE_REQUEST_DEADLINE_MS,
} from '../base/limits.js';
import type { Logger } from '../base/log.js';
import { canonicalHost, formatAddress, isLoopback, listenError } from '../base/net.js';
import { CreateMove, CreateVolume, SetBalance, SetVolume, TraceAfter } from './api.js';
import type { ManageDesk } from './desk.js';

export interface ManageServerOptions {
  /** See canonicalHost(). */
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly desk: ManageDesk;
  readonly log: Logger;
}

/** How often Node looks for connections that have had their time; by itself every 30 s. */
const IDLE_LOOK_MS = 1_000;

const HTTP_STATUS: Partial<Record<ErrorCode, number>> = {
  USAGE: 400,
  INVALID: 400,
  NOT_FOUND: 404,
  EXISTS: 409,
  BUSY: 409,
  CONFLICT: 409,
  STALE: 409,
  CANCELLED: 409,
  UNAVAILABLE: 503,
  NO_SPACE: 507,
};

export class ManageServer {
  private constructor(
    private readonly http: FastifyInstance,
    readonly url: string,
  ) {}

  /** Listens; rejects with BUSY when the port is in use. */
  static async start(options: ManageServerOptions): Promise<ManageServer> {
    const http = buildServer(options);
    try {
      await http.listen({ host: options.host, port: options.port });
    } catch (cause) {
      throw listenError('management port', options, '--manage-port', cause);
    }
    const bound = http.addresses()[0];
    const url = `http://${formatAddress({ host: options.host, port: typeof bound === 'object' ? bound.port : options.port })}`;
    return new ManageServer(http, url);
  }

  async stop(): Promise<void> {
    await this.http.close();
  }
}

function buildServer(options: ManageServerOptions): FastifyInstance {
  const http = fastify({
    bodyLimit: MANAGE_BODY_BYTES_MAX,
    requestTimeout: MANAGE_REQUEST_DEADLINE_MS,
    // One that does not read its answer, or is silent in any other way, holds its connection no longer than that either.
    connectionTimeout: MANAGE_REQUEST_DEADLINE_MS,
    keepAliveTimeout: MANAGE_IDLE_MS,
    http: { headersTimeout: MANAGE_IDLE_MS, connectionsCheckingInterval: IDLE_LOOK_MS },
    forceCloseConnections: true,
    // A path that cannot be decoded, or a name longer than any, never gets to the handler below.
    frameworkErrors: (_error, request, reply) => void sendError(reply, unknownPath(request), options.log),
  });
  // The group portal has its files from the same process: who holds connections here must leave it some.
  http.server.maxConnections = MANAGE_CONNECTIONS_MAX;
  // JSON is the only body taken: a page can send a form's types without asking, JSON it cannot.
  http.removeContentTypeParser('text/plain');
  http.addHook('onRequest', async (request) => checkCaller(request, options.host));
  http.setErrorHandler((error, _request, reply) => sendError(reply, error, options.log));
  http.setNotFoundHandler((request, reply) => sendError(reply, unknownPath(request), options.log));
  addRoutes(http, options.desk);
  return http;
}

function unknownPath({ method, url }: FastifyRequest): BlockferryError {
  return new BlockferryError('NOT_FOUND', `there is no ${method} ${url}`, 'begin with GET /v1/status');
}

function addRoutes(http: FastifyInstance, desk: ManageDesk): void {
  http.get('/v1/status', () => desk.status());
  http.get('/v1/members', () => desk.members());
  http.get('/v1/sessions', () => desk.sessions());
  http.get('/v1/loads', () => desk.loads());

  http.get('/v1/volumes', () => desk.volumes());
  http.post('/v1/volumes', async (request, reply) => {
    const created = await desk.createVolume(parseBody(CreateVolume, request.body));
    return reply.code(201).send(created);
  });
  http.get<{ Params: { name: string } }>('/v1/volumes/:name', (request) => desk.volume(request.params.name));
  http.patch<{ Params: { name: string } }>('/v1/volumes/:name', (request) =>
    desk.setVolume(request.params.name, parseBody(SetVolume, request.body)),
  );
  http.delete<{ Params: { name: string } }>('/v1/volumes/:name', async (request) => {
    await desk.deleteVolume(request.params.name);
    return {};
  });
  http.get<{ Params: { name: string } }>('/v1/volumes/:name/route', (request) =>
    desk.route(request.params.name),
  );

  http.get('/v1/moves', () => desk.moves());
  http.post('/v1/moves', async (request, reply) => {
    const created = await desk.createMove(parseBody(CreateMove, request.body));
    return reply.code(201).send(created);
  });
  http.get<{ Params: { id: string } }>('/v1/moves/:id', (request) => desk.move(request.params.id));
  http.delete<{ Params: { id: string } }>('/v1/moves/:id', (request) => desk.cancelMove(request.params.id));

  http.get('/v1/trace', (request) => desk.trace(parseBody(TraceAfter, request.query).after));
  http.get('/v1/balance', () => desk.balance());
  http.patch('/v1/balance', (request) => desk.setBalance(parseBody(SetBalance, request.body)));
  http.get('/v1/decisions', () => desk.decisions());
}

function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue?.path.join('.');
  throw new BlockferryError('INVALID', field ? `${field}: ${issue?.message}` : `body: ${issue?.message}`);
}

/**
 * A page in a browser can reach 127.0.0.1 by a name of its own that resolves there; its Host header gives it away, and
 * so does the Origin header of a form or script. Programs send neither a foreign Host nor an Origin.
 */
function checkCaller(request: FastifyRequest, boundHost: string): void {
  const named = hostOf(request.headers.host ?? '');
  const bound = boundHost === '0.0.0.0' || boundHost === '::' ? isIP(named) !== 0 : named === boundHost;
  if (!bound && named !== 'localhost' && !isLoopback(named)) {
    throw new BlockferryError('INVALID', `Host '${named}' is not this server`, 'use its numeric address');
  }
  const origin = request.headers.origin;
  if (origin !== undefined && origin !== `http://${request.headers.host}`) {
    throw new BlockferryError('INVALID', `requests from ${origin} are refused`);
  }
}

function hostOf(header: string): string {
  const name = header.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  return canonicalHost(name.toLowerCase());
}

function sendError(reply: FastifyReply, error: unknown, log: Logger): FastifyReply {
  if (error instanceof BlockferryError) {
    const { code, message, hint } = error;
    return reply.code(HTTP_STATUS[code] ?? 500).send({ error: { code, message, hint } });
  }
  const status = (error as { statusCode?: number }).statusCode ?? 500;
  if (status >= 500) log.error({ err: error }, 'a management request failed');
  const code: ErrorCode = status < 500 ? 'INVALID' : 'INTERNAL';
  return reply
    .code(status)
    .send({ error: { code, message: error instanceof Error ? error.message : String(error) } });
}

/**
 * One HTTP request and its whole answer, of bounded length and in bounded time. By Node's own client, not by fetch(), which
 * goes where it is sent, and which in Node 20 never settles where a connection is closed before it is written to: so closes a
 * server that has no descriptor left. Knows nothing of what is asked.
 */
import { Agent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import type { Clock } from '../base/clock.js';
import { BlockferryError, errnoOf } from '../base/errors.js';
import { MANAGE_ANSWER_BYTES_MAX, MANAGE_IDLE_MS, MANAGE_REQUEST_DEADLINE_MS } from '../base/limits.js';
import { formatSize } from '../base/units.js';

/** Requests at a time, the others wait: a drain asks for the route of each volume. */
const CALLS_MAX = 8;

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** The connections to one server. */
export class Exchanges {
  private readonly givenUp = new AbortController();
  private agent: Agent | undefined;

  constructor(private readonly clock: Clock) {}

  /**
   * @throws UNAVAILABLE when nobody answers, PROTOCOL when the answer is not HTTP or has no end, CANCELLED after close(); what
   *   is wrong alone, without the address
   */
  async ask(method: string, url: URL, body?: string): Promise<Answer> {
    const { request, Agent } = await clientFor(url);
    // Left idle for as long as the server allows, a connection could be taken up just as it closes it.
    this.agent ??= new Agent({ keepAlive: true, maxSockets: CALLS_MAX, timeout: MANAGE_IDLE_MS / 2 });
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const asked = request(url, { method, headers, agent: this.agent, signal: this.givenUp.signal });
    return answerTo(asked, body, this.clock);
  }

  /** Gives up what has not been answered, which would keep its process until the deadline. */
  close(): void {
    this.givenUp.abort();
  }
}

/** TLS is loaded only by who asks for it: a start costs what it uses. */
async function clientFor(url: URL): Promise<{ request: typeof httpRequest; Agent: typeof Agent }> {
  return url.protocol === 'https:' ? import('node:https') : { request: httpRequest, Agent };
}

function answerTo(request: ClientRequest, body: string | undefined, clock: Clock): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      deadline.cancel();
      reject(failureOf(error));
      request.destroy();
    };
    const deadline = clock.after(MANAGE_REQUEST_DEADLINE_MS, () => fail(LATE));
    request.on('error', fail);
    request.once('response', (response) => {
      readText(response).then((text) => {
        deadline.cancel();
        resolve({ status: response.statusCode ?? 0, text });
      }, fail);
    });
    request.end(body);
  });
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MANAGE_ANSWER_BYTES_MAX) throw ENDLESS;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

const LATE = new BlockferryError('UNAVAILABLE', 'does not answer in time');
const ENDLESS = new BlockferryError('PROTOCOL', `more than ${formatSize(MANAGE_ANSWER_BYTES_MAX)}`);

function failureOf(error: unknown): BlockferryError {
  if (error instanceof BlockferryError) return error;
  const errno = errnoOf(error);
  if (errno === 'ABORT_ERR') return new BlockferryError('CANCELLED', 'stopped before the group has answered');
  if (errno.startsWith('HPE_'))
    return new BlockferryError('PROTOCOL', 'not HTTP', undefined, { cause: error });
  const what =
    errno === 'ECONNRESET' ? 'it closes the connection without a whole answer' : 'nobody answers there';
  return new BlockferryError('UNAVAILABLE', what, undefined, { cause: error });
}

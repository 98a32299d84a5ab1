/** As much of QEMU's monitor protocol as a benchmark needs: commands in order, and waiting for one event. */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { BlockferryError } from '../base/errors.js';
import { sleep, systemClock } from '../base/clock.js';

const CONNECT_PATIENCE_MS = 5_000;
const POLL_MS = 50;

interface Message {
  readonly QMP?: unknown;
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
}

interface Waiter {
  readonly wanted: (message: Message) => boolean;
  readonly resolve: (message: Message) => void;
  readonly reject: (error: Error) => void;
}

export class QmpClient {
  private waiters: Waiter[] = [];

  private constructor(private readonly socket: Socket) {
    createInterface({ input: socket }).on('line', (line) => this.take(JSON.parse(line) as Message));
    const gone = (): void => this.fail(new BlockferryError('UNAVAILABLE', 'the monitor hung up'));
    socket.on('error', gone).on('close', gone);
  }

  /** Waits for the socket to appear, then negotiates. */
  static async connect(path: string): Promise<QmpClient> {
    const client = new QmpClient(await dial(path));
    await client.execute('qmp_capabilities');
    return client;
  }

  /** Rejects with IO when the monitor refuses. */
  async execute(command: string, args: object = {}): Promise<void> {
    const answer = this.wait((message) => message.return !== undefined || message.error !== undefined);
    this.socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    const { error } = await answer;
    if (error !== undefined) throw new BlockferryError('IO', `${command}: ${error.desc}`);
  }

  async event(name: string): Promise<void> {
    await this.wait((message) => message.event === name);
  }

  close(): void {
    this.socket.destroy();
  }

  private wait(wanted: (message: Message) => boolean): Promise<Message> {
    const promise = new Promise<Message>((resolve, reject) => this.waiters.push({ wanted, resolve, reject }));
    promise.catch(() => undefined); // whoever waits hears of it; an event nobody waits for any more is no crash
    return promise;
  }

  private take(message: Message): void {
    const waiter = this.waiters.find(({ wanted }) => wanted(message));
    if (waiter === undefined) return;
    this.waiters = this.waiters.filter((other) => other !== waiter);
    waiter.resolve(message);
  }

  private fail(error: Error): void {
    for (const waiter of this.waiters) waiter.reject(error);
    this.waiters = [];
  }
}

async function dial(path: string): Promise<Socket> {
  const deadline = Date.now() + CONNECT_PATIENCE_MS;
  for (;;) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = connect(path);
        socket.once('connect', () => resolve(socket)).once('error', reject);
      });
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(systemClock, POLL_MS);
    }
  }
}

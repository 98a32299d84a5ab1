/** A file sent from one process to another over plain TCP and made durable there: what a move could be without its rules. */
import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { systemClock } from '../base/clock.js';
import { forkSelf } from './process.js';
import type { Scope } from './scope.js';

const PIECE_BYTES = 1024 * 1024;

/** @returns seconds until the copy `to`, a new file, was durable */
export async function secondsOfTcpCopy(from: string, to: string, scope: Scope): Promise<number> {
  await rm(to, { force: true });
  const running = forkSelf('copy-process', [to]);
  scope.defer(() => running.stop());
  const port = Number(await running.nextMessage());
  const begunMs = systemClock.nowMs();
  const sent = pipeline(
    createReadStream(from, { highWaterMark: PIECE_BYTES }),
    connect({ host: '127.0.0.1', port }),
  );
  await Promise.all([sent, running.nextMessage()]);
  const seconds = (systemClock.nowMs() - begunMs) / 1000;
  await running.stop();
  return seconds;
}

/** The receiving end, as a process. Its messages: the port it listens at, then that the file is durable. */
export async function runCopyProcess(to: string): Promise<void> {
  const server = createServer((socket) => {
    receive(socket, to).then(
      () => process.send?.('durable'),
      () => process.exit(1),
    );
  });
  process.on('disconnect', () => process.exit());
  await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0 }, resolve));
  process.send?.((server.address() as AddressInfo).port);
}

async function receive(socket: Socket, to: string): Promise<void> {
  const file = await open(to, 'w');
  for await (const chunk of socket as AsyncIterable<Buffer>) await file.write(chunk);
  await file.datasync();
  await file.close();
}

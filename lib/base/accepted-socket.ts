/**
 * Accepted sockets that read into one buffer. net.connect has `onread` for that, net.Server has not: each 'data' event
 * brings a new buffer of 64 KiB, and at 2 GB/s their allocation and collection cost more than the data path itself.
 */
import { Socket } from 'node:net';

/** What net.Server gives to the socket it makes, and what we give on to ours. */
interface Internals {
  /** The system's socket. */
  _handle?: object | null;
  /** Who counts the connection: for maxConnections, and for close() to wait until it is gone. */
  _server?: object | null;
}

/**
 * Takes the connection of a just accepted socket over, of a server with `pauseOnConnect`, and starts to read.
 * @param readBuffer may be shared by all sockets of the process: it is filled right before each `receive`
 * @param receive given a view that holds until it returns
 * @returns the socket to use from now on; the accepted one is spent
 */
export function readInto(accepted: Socket, readBuffer: Buffer, receive: (chunk: Buffer) => void): Socket {
  const shell = accepted as Socket & Internals;
  const { _handle: handle, _server: server } = shell;
  if (!handle || !server) {
    // Gone already, or a Node that keeps them elsewhere: slower, and as right.
    accepted.on('data', receive);
    accepted.resume(); // pauseOnConnect is not undone by a listener
    return accepted;
  }
  const onread = {
    buffer: readBuffer,
    callback: (bytesRead: number): boolean => {
      receive(readBuffer.subarray(0, bytesRead));
      return true;
    },
  };
  shell._handle = shell._server = null;
  const socket: Socket & Internals = new Socket({ handle, onread } as object);
  socket._server = server;
  return socket;
}

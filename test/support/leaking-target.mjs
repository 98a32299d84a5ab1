/** Loaded into a target first: of every connection that it accepts, 8 MiB are kept for good. */
import { subscribe } from 'node:diagnostics_channel';

const kept = [];
subscribe('net.server.socket', () => kept.push(Buffer.alloc(8 * 1024 * 1024, 1)));

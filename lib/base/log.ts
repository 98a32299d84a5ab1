/** The logger everything takes. Nothing is logged per I/O, and no secret is ever passed in. */
import { pino, type Logger } from 'pino';

export type { Logger };

/** A logger that says nothing, for tests and library use. */
export const silentLog: Logger = pino({ level: 'silent' });

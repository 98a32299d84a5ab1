/** The logger of a command: on stderr always, pretty where a person reads it, lines of JSON elsewhere. */
import { pino, type Logger } from 'pino';
import { BlockferryError } from '../base/errors.js';
import type { CliDoor } from './door.js';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/**
 * @param name who speaks: 'serve', 'up', a member's name
 * @param levelAtTerminal the level where stderr is a terminal and BLOCKFERRY_LOG is not set; elsewhere it is 'warn'
 */
export async function createLog(
  door: CliDoor,
  name: string,
  levelAtTerminal: 'info' | 'warn',
): Promise<Logger> {
  const asked = door.env['BLOCKFERRY_LOG'];
  if (asked && !LEVELS.includes(asked)) {
    throw new BlockferryError(
      'USAGE',
      `BLOCKFERRY_LOG '${asked}' is no level`,
      `use one of ${LEVELS.join(', ')}`,
    );
  }
  const terminal = door.stderr.isTTY === true;
  const level = asked || (terminal ? levelAtTerminal : 'warn');
  const sink = { write: (line: string) => void door.stderr.write(line) };
  if (!terminal) return pino({ name, level }, sink);
  const { default: pretty } = await import('pino-pretty');
  return pino(
    { name, level },
    pretty({
      colorize: true,
      ignore: 'pid,hostname',
      translateTime: 'HH:MM:ss.l',
      destination: 2,
      sync: true,
    }),
  );
}

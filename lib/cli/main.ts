/** Runs one command line to its exit code: 0 done, 1 failed, 2 wrong usage. The commands are in the files beside it. */
import { Command, CommanderError } from 'commander';
import { BlockferryError, describeError } from '../base/errors.js';
import type { CliDoor } from './door.js';

/** Longer than any line of ours, and than a path. */
const LINE_CHARS_MAX = 8192;

/** What holds for every command, below their list. */
const CONVENTIONS = `
'blockferry COMMAND --help' says what a command takes. Sizes are 512, 64K, 10G
(powers of 1024), times 300us, 20ms, 30s, 10m, 1h.

Exit code: 0 done, 1 failed, 2 wrong usage; what failed is one line on stderr.

Environment:
  BLOCKFERRY_MANAGE  in place of --manage
  BLOCKFERRY_CHAP    the text of a --chap file, in place of it
  BLOCKFERRY_LOG     trace, debug, info, warn, error, fatal or silent, on stderr`;

/** Adds one noun's commands to the program. */
export type AddCommand = (program: Command, door: CliDoor) => void;

export interface CommandLoader {
  /** The first word on the command line. */
  readonly name: string;
  readonly description: string;
  /** Loads the file only when its command is asked for: a start costs what it uses. */
  readonly load: () => Promise<AddCommand>;
}

export async function runCli(
  argv: readonly string[],
  door: CliDoor,
  commands: readonly CommandLoader[],
  version: string,
): Promise<number> {
  const words = withoutHelpWord(argv, commands);
  let program: Command | null = null;
  try {
    program = await buildProgram(words, door, commands, version);
    await program.parseAsync([...words], { from: 'user' });
    return 0;
  } catch (error) {
    if (program === null || !(error instanceof CommanderError)) return reportFailure(error, door);
    return reportUsage(error, door, commandOf(program, words));
  }
}

/** `help volume create` is `volume create --help`: commander's own help knows one word, and none of what is not loaded. */
function withoutHelpWord(argv: readonly string[], commands: readonly CommandLoader[]): readonly string[] {
  const [first, asked, ...more] = argv;
  if (first !== 'help') return argv;
  if (asked === undefined || asked.startsWith('-') || asked === 'help') return ['--help'];
  const isKnown = commands.some(({ name }) => name === asked);
  return isKnown ? [asked, ...more, '--help'] : [asked];
}

/** As far as the words name one, such as "blockferry volume create": who is asked for its help. */
function commandOf(program: Command, words: readonly string[]): string {
  const path = [program.name()];
  let command: Command | undefined = program;
  for (const word of words) {
    command = command.commands.find((each) => each.name() === word);
    if (command === undefined) break;
    path.push(word);
  }
  return path.join(' ');
}

/** Loads the asked command alone; the others stand there by name, for the help. */
async function buildProgram(
  argv: readonly string[],
  door: CliDoor,
  commands: readonly CommandLoader[],
  version: string,
): Promise<Command> {
  const program = new Command('blockferry')
    .usage('[options] <command>')
    .description(
      'An iSCSI target whose volumes move between members while initiators keep reading and writing.',
    )
    .addHelpText('after', CONVENTIONS)
    .version(version)
    .helpCommand('help [command]', 'the same as COMMAND --help')
    .exitOverride()
    .showSuggestionAfterError(false)
    // Commander's own error lines are dropped: reportUsage() writes the one line.
    .configureOutput({
      writeOut: (text) => void door.stdout.write(text),
      writeErr: () => undefined,
    });
  const asked = argv.find((word) => !word.startsWith('-'));
  for (const command of commands) {
    if (command.name === asked) (await command.load())(program, door);
    else program.command(command.name).description(command.description);
  }
  program.argument('[command]').action((unknown: string | undefined) => {
    const what = unknown === undefined ? 'no command was given' : `there is no command '${unknown}'`;
    throw new BlockferryError('USAGE', what, "see 'blockferry --help'");
  });
  return program;
}

function reportFailure(error: unknown, door: CliDoor): number {
  door.stderr.write(`blockferry: ${oneLine(describeError(error))}\n`);
  if (
    error instanceof Error &&
    !(error instanceof BlockferryError) &&
    door.env['BLOCKFERRY_LOG'] === 'debug'
  ) {
    door.stderr.write(`${error.stack}\n`);
  }
  return error instanceof BlockferryError && error.code === 'USAGE' ? 2 : 1;
}

/** A name that was given may hold line feeds, or be endless: what is wrong with it, and the hint, stand behind it. */
function oneLine(text: string): string {
  const line = text.trim().replace(/[\r\n]+\s*/g, ' ');
  if (line.length <= LINE_CHARS_MAX) return line;
  return `${line.slice(0, LINE_CHARS_MAX / 2)} … ${line.slice(-LINE_CHARS_MAX / 2)}`;
}

function reportUsage(error: CommanderError, door: CliDoor, command: string): number {
  if (error.exitCode === 0) return 0;
  const what = oneLine(error.message.replace(/^error: /, ''));
  const said = what === '(outputHelp)' ? 'no command was given' : what;
  door.stderr.write(`blockferry: ${said}; see '${command} --help'\n`);
  return 2;
}

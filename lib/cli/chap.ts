/**
 * Where CHAP secrets come in: a JSON file, standard input, or the environment; never an argument, which every process of
 * the machine can read. What passes here is complete, and nothing of it is ever said again, not even in an error.
 *
 *     { "accounts": [{ "name": "backup", "secret": "…", "initiatorNames": ["iqn.…"] }],
 *       "target": { "name": "blockferry", "secret": "…" } }
 */
import type { Command } from 'commander';
import { z } from 'zod';
import { BlockferryError, describeError, errnoOf } from '../base/errors.js';
import {
  CHAP_ACCOUNTS_MAX,
  CHAP_FILE_BYTES_MAX,
  CHAP_SECRET_BYTES_MAX,
  CHAP_SECRET_BYTES_MIN,
  ISCSI_NAME_BYTES_MAX,
} from '../base/limits.js';
import { readAtMost } from '../base/read-at-most.js';
import type { ChapIdentity } from '../iscsi/initiator/chap.js';
import type { ChapSecrets } from '../iscsi/target/login/chap.js';
import type { CliDoor } from './door.js';

const ENVIRONMENT = 'BLOCKFERRY_CHAP';
const STDIN = '-';

const name = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[^\0]+$/);
/** RFC 7143 9.2.1: 96 bits at least, since nothing else protects the exchange. */
const secret = z.string().refine(
  (text) => {
    const bytes = Buffer.byteLength(text);
    return bytes >= CHAP_SECRET_BYTES_MIN && bytes <= CHAP_SECRET_BYTES_MAX && !text.includes('\0');
  },
  { error: `a secret is of ${CHAP_SECRET_BYTES_MIN} to ${CHAP_SECRET_BYTES_MAX} bytes` },
);

const Secrets = z
  .strictObject({
    accounts: z
      .array(
        z.strictObject({
          name,
          secret,
          initiatorNames: z.array(z.string().min(1).max(ISCSI_NAME_BYTES_MAX)).optional(),
        }),
      )
      .min(1)
      .max(CHAP_ACCOUNTS_MAX),
    target: z.strictObject({ name, secret }).optional(),
  })
  .refine(({ accounts }) => new Set(accounts.map((account) => account.name)).size === accounts.length, {
    error: 'two accounts have the same name',
  })
  // RFC 7143 12.1.3: who knew one would know the other.
  .refine(({ accounts, target }) => !accounts.some((account) => account.secret === target?.secret), {
    error: 'the secret of the target is the secret of an account',
  });

/** Adds --chap; what is given there is for readChap(). */
export function withChap(command: Command, what: string): Command {
  return command.option('--chap <file>', `${what}, - for standard input (or ${ENVIRONMENT})`);
}

/** For a process that is started with `secrets`: what it gets as arguments, and what it reads from its standard input. */
export function handOnChap(secrets: ChapSecrets): { args: readonly string[]; input: string } {
  return { args: ['--chap', STDIN], input: JSON.stringify(secrets) };
}

/**
 * The secrets of `path`, `-` being standard input, or of the environment; undefined where there are none.
 * @throws USAGE (they stand in place of the path), NOT_FOUND, IO, INVALID
 */
export async function readChap(door: CliDoor, path: string | undefined): Promise<ChapSecrets | undefined> {
  if (path === STDIN) {
    const where = 'standard input';
    return parseChap(await readText(where, (bytesMax) => door.readStdin(bytesMax)), where);
  }
  if (path?.trimStart().startsWith('{') === true)
    throw new BlockferryError(
      'USAGE',
      'the secrets stand where a file was to be named',
      'put them into a file',
    );
  if (path !== undefined)
    return parseChap(await readText(path, (bytesMax) => readAtMost(path, bytesMax)), path);
  const text = door.env[ENVIRONMENT];
  return text === undefined || text === '' ? undefined : parseChap(text, ENVIRONMENT);
}

/** The same, for who logs in: the first account, which asks for the target's secret if there is one. */
export async function readChapIdentity(
  door: CliDoor,
  path: string | undefined,
): Promise<ChapIdentity | null> {
  const secrets = await readChap(door, path);
  const account = secrets?.accounts[0];
  if (account === undefined) return null;
  const { target } = secrets ?? {};
  return { name: account.name, secret: account.secret, ...(target && { target }) };
}

async function readText(where: string, read: (bytesMax: number) => Promise<Buffer | null>): Promise<string> {
  try {
    const bytes = await read(CHAP_FILE_BYTES_MAX);
    if (bytes === null) throw invalid(where, `it is longer than ${CHAP_FILE_BYTES_MAX} bytes`);
    return bytes.toString('utf8');
  } catch (cause) {
    if (cause instanceof BlockferryError) throw cause;
    const code = errnoOf(cause) === 'ENOENT' ? 'NOT_FOUND' : 'IO';
    throw new BlockferryError(
      code,
      `the secrets in ${where} cannot be read: ${describeError(cause)}`,
      'name a file that you may read with --chap',
    );
  }
}

function parseChap(text: string, where: string): ChapSecrets {
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, '')); // some editors begin a file with this mark
  } catch {
    throw invalid(where, 'it is not JSON'); // the parser's own words quote the text
  }
  const parsed = Secrets.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw invalid(where, `${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`.trim());
  }
  const { accounts, target } = parsed.data;
  return {
    accounts: accounts.map(({ initiatorNames, ...account }) => ({
      ...account,
      ...(initiatorNames && { initiatorNames }),
    })),
    ...(target && { target }),
  };
}

function invalid(where: string, what: string): BlockferryError {
  const like =
    '{"accounts":[{"name":"…","secret":"…"}],"target":{"name":"…","secret":"…"}}, target only where asked for';
  return new BlockferryError('INVALID', `the secrets in ${where}: ${what}`, `it should be like ${like}`);
}

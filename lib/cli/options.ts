/**
 * The door where arguments become values: a zod schema per kind of argument, and the options that commands share.
 * Whatever passes here needs no second look inside.
 */
import { isIP } from 'node:net';
import { Option, type Command } from 'commander';
import { z } from 'zod';
import { BlockferryError } from '../base/errors.js';
import { MEMBER_NAME_PATTERN, VOLUME_NAME_PATTERN } from '../base/limits.js';
import { canonicalHost, isLoopback } from '../base/net.js';
import { parseDuration, sizeOf } from '../base/units.js';
import { sizeFaultOf, sizesOf } from '../group/volume-sizes.js';
import type { CliDoor } from './door.js';
import { parseKind } from './kind.js';

export const DEFAULT_MANAGE_URL = 'http://127.0.0.1:3280';

const SIZE_FAULT = 'is not a size such as 512, 64K or 10G (powers of 1024)';
export const size = z.string().transform((text, context) => {
  const bytes = sizeOf(text);
  if (bytes !== null) return bytes;
  context.addIssue({ code: 'custom', message: SIZE_FAULT });
  return z.NEVER;
});
/** In milliseconds. */
export const duration = z.string().transform((text, context) => {
  const ms = parseDuration(text);
  if (ms !== null) return ms;
  context.addIssue({ code: 'custom', message: 'is no time such as 300us, 20ms, 30s, 10m or 1h' });
  return z.NEVER;
});
export const volumeName = z
  .string()
  .regex(VOLUME_NAME_PATTERN, 'is no volume name: lower-case letters, digits, dots and dashes, 64 at most');
export const memberName = z
  .string()
  .regex(MEMBER_NAME_PATTERN, 'is no member name: lower-case letters, digits and dashes, 32 at most');
export const flag = z.boolean().default(false);
/** 224.0.0.0/4 and ff00::/8. */
const MULTICAST = /^(22[4-9]|23\d)\.|^ff[0-9a-f]{2}:/;

/** Why nobody could be sent to a numeric address that is in its one form. */
function hostFault(canonical: string): string | null {
  if (canonical.includes('%')) return 'has a zone, which says nothing on another machine';
  return MULTICAST.test(canonical) ? 'is a multicast address, which nobody can connect to' : null;
}

/** Numeric, since a redirect must carry it (a name that does not resolve wedges libiscsi for good). */
export const host = z.string().transform((text, context) => {
  const canonical = canonicalHost(text);
  const fault = isIP(text) === 0 ? 'is no numeric address, such as 127.0.0.1 or ::1' : hostFault(canonical);
  if (fault === null) return canonical;
  context.addIssue({ code: 'custom', message: fault });
  return z.NEVER;
});

export const wholeNumber = z
  .string()
  .regex(/^\d{1,15}$/, 'is no whole number')
  .transform(Number);

/** A whole number in [min, max]. */
export function whole(min: number, max: number): z.ZodType<number, string> {
  return wholeNumber.refine((value) => value >= min && value <= max, `is not between ${min} and ${max}`);
}

export const port = whole(0, 65535);

/** HOST:PORT or [V6]:PORT. */
export const address = z.string().transform((text, context) => {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const hostPart = canonicalHost(match?.[1] ?? match?.[2] ?? '');
  const portPart = Number(match?.[3]);
  const isAddress = isIP(hostPart) !== 0 && portPart <= 65535;
  const fault = isAddress ? hostFault(hostPart) : 'is no HOST:PORT with a numeric host';
  if (fault === null) return { host: hostPart, port: portPart };
  context.addIssue({ code: 'custom', message: fault });
  return z.NEVER;
});

/** A-B, both included, or one extent. */
export const extentRange = z.string().transform((text, context) => {
  const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (first <= last) return { first, last };
  context.addIssue({ code: 'custom', message: 'is no range of extents such as 0-63' });
  return z.NEVER;
});

/** NAME=SIZE, and the kind after commas: disk=1G,block-size=4096,removable. */
export const volumeAndSize = z.string().transform((text, context) => {
  const [first = '', ...words] = text.split(',');
  const [name = '', sizeText = '', ...more] = first.split('=');
  const isVolume = more.length === 0 && VOLUME_NAME_PATTERN.test(name) && sizeText !== '';
  const kind = isVolume ? parseKind(words) : 'is not NAME=SIZE such as disk=1G';
  const refuse = (message: string): never => {
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  };
  if (typeof kind === 'string') return refuse(kind);
  const sizeBytes = sizeOf(sizeText);
  if (sizeBytes === null) return refuse(`has '${sizeText}', which ${SIZE_FAULT}`);
  const fault = sizeFaultOf(sizesOf(sizeBytes, kind.blockSize));
  return fault === null ? { name, sizeBytes, kind } : refuse(`cannot be: ${fault.what}; ${fault.hint}`);
});

/** Of an issue whose value may hold a secret: it is not repeated. */
const UNSAID = { unsaid: true };

/** Parses commander's options; throws USAGE that names the option and what is wrong with its value. */
export function parseOptions<T>(schema: z.ZodType<T, unknown>, options: Record<string, unknown>): T {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const key = String(issue?.path[0] ?? '');
  const given = issue?.path.reduce<unknown>(
    (value, step) => (value as Record<PropertyKey, unknown>)?.[step],
    options,
  );
  const option = `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const said = issue?.code === 'custom' && issue.params === UNSAID ? option : `${option} '${String(given)}'`;
  throw new BlockferryError('USAGE', `${said} ${issue?.message ?? 'is wrong'}`);
}

/** Parses one positional argument; throws USAGE. */
export function parseArgument<T>(schema: z.ZodType<T, unknown>, what: string, text: string): T {
  const parsed = schema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new BlockferryError('USAGE', `${what} '${text}' ${parsed.error.issues[0]?.message ?? 'is wrong'}`);
}

/** Gathers the values of an option that may be repeated; one that starts as [] would have that in its help. */
export function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}

/** What collect() has gathered, nothing included. */
export function repeated<T extends z.ZodType<unknown, string>>(of: T): z.ZodDefault<z.ZodArray<T>> {
  return z.array(of).default([]);
}

/** Adds --json, which every command takes. */
export function withJson(command: Command): Command {
  return command.option('--json', 'one JSON document on stdout, nothing else there');
}

/**
 * Adds --json and --manage, for commands that talk to a running group. Help names the variable and the built-in default: what
 * the variable holds is not the same everywhere, and may be a secret.
 */
export function withManage(command: Command, door: CliDoor): Command {
  const url = door.env['BLOCKFERRY_MANAGE'] || DEFAULT_MANAGE_URL;
  return withJson(command).addOption(
    new Option('--manage <url>', 'management API of the group (BLOCKFERRY_MANAGE)').default(
      url,
      JSON.stringify(DEFAULT_MANAGE_URL),
    ),
  );
}

export const manageOptions = {
  json: flag,
  manage: z
    .string()
    .refine((text) => !text.includes('@'), {
      error: 'names a user, and the management API knows none: leave it out',
      params: UNSAID,
      abort: true,
    })
    .pipe(z.url({ protocol: /^https?$/, error: 'is no http URL such as http://127.0.0.1:3280' })),
};

/** Of two that were given one would be dropped in silence. A flag that is off was not given. */
export function refuseBoth(option: string, value: unknown, other: string, otherValue: unknown): void {
  const isGiven = (one: unknown): boolean => one !== undefined && one !== false;
  if (!isGiven(value) || !isGiven(otherValue)) return;
  throw new BlockferryError('USAGE', `--${option} and --${other} exclude each other`, 'give one of them');
}

/**
 * An address that others can reach must be asked for by name, unless they have to authenticate.
 * @param what listens there without
 */
export function refuseOpenHost(
  hostText: string,
  allowUnauthenticated: boolean,
  what: string,
  hint = '',
): void {
  if (isLoopback(hostText) || allowUnauthenticated) return;
  throw new BlockferryError(
    'USAGE',
    `${hostText} can be reached from other machines, and ${what} asks nobody who they are`,
    `${hint}add --allow-unauthenticated if anybody there may read and write the volumes`,
  );
}

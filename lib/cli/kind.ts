/**
 * The kind of a unit as it is asked for: the options that `serve` and `volume create` share, the same words in `up
 * --volume`, and how a kind is told. `serve` takes images as they are, so that `full` is none of its.
 */
import type { Command } from 'commander';
import { z } from 'zod';
import { PRODUCT_PATTERN, SERIAL_PATTERN, VENDOR_PATTERN } from '../base/limits.js';
import { formatSize } from '../base/units.js';
import type { VolumeView } from '../manage/api.js';

const blockSize = z
  .string()
  .refine((text) => text === '512' || text === '4096', 'is neither 512 nor 4096')
  .transform((text) => Number(text) as 512 | 4096);
const text = (pattern: RegExp, charactersMax: number): z.ZodString =>
  z
    .string()
    .regex(pattern, `is not 1 to ${charactersMax} characters of printable ASCII without blanks at the ends`);

/** Fields of a zod object, beside a command's own. */
export const kindOptions = {
  blockSize: blockSize.optional(),
  removable: z.boolean().optional(),
  readOnly: z.boolean().optional(),
  full: z.boolean().optional(),
  serial: text(SERIAL_PATTERN, 32).optional(),
  vendor: text(VENDOR_PATTERN, 8).optional(),
  product: text(PRODUCT_PATTERN, 16).optional(),
};

const Kind = z.strictObject(kindOptions);
export type Kind = z.infer<typeof Kind>;

/** What `kindOptions` holds of a command's options. */
export function kindOf({ blockSize, removable, readOnly, full, serial, vendor, product }: Kind): Kind {
  return { blockSize, removable, readOnly, full, serial, vendor, product };
}

export function withKind(command: Command): Command {
  return command
    .option('--block-size <bytes>', '512 or 4096 (default: 512)')
    .option('--removable', 'a medium that can be ejected')
    .option('--read-only', 'write protected: refuse writes')
    .option('--serial <text>', 'what hosts know it by (VPD 80h), at most 32 characters')
    .option('--vendor <text>', 'T10 vendor identification, at most 8 characters')
    .option('--product <text>', 'product identification, at most 16 characters');
}

/**
 * Words as in "block-size=4096,removable": the options above without their dashes.
 * @returns the kind, or what is wrong with the first word that is
 */
export function parseKind(words: readonly string[]): Kind | string {
  const options: Record<string, unknown> = {};
  for (const word of words) {
    const [, name = '', value] = /^([a-z-]*)(?:=(.*))?$/.exec(word) ?? [];
    const key = name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
    if (!Object.hasOwn(kindOptions, key)) return `has '${word}', which is no kind of volume`;
    if (Object.hasOwn(options, key)) return `has ${name} twice`;
    options[key] = value ?? true;
  }
  const parsed = Kind.safeParse(options);
  if (parsed.success) return parsed.data;
  const key = String(parsed.error.issues[0]?.path[0]);
  const name = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return `has '${name}=${String(options[key])}': it ${parsed.error.issues[0]?.message ?? 'is wrong'}`;
}

/** "disk", or all that is special about it. */
export function describeKind({
  blockSize,
  removable,
  readOnly,
  full,
}: Pick<VolumeView, 'blockSize' | 'removable' | 'readOnly' | 'full'>): string {
  const words = [
    ...(blockSize === 512 ? [] : [`${formatSize(blockSize)} blocks`]),
    ...(removable ? ['removable'] : []),
    ...(readOnly ? ['read-only'] : []),
    ...(full ? ['full'] : []),
  ];
  return words.length === 0 ? 'disk' : words.join(', ');
}

/** blockferry balance: how the group balances itself, shown or changed. */
import type { Command } from 'commander';
import { z } from 'zod';
import { DEFAULT_SETTINGS, DEMONSTRATION_SETTINGS, POLICIES, SettingBounds } from '../balance/settings.js';
import { LABEL_PATTERN, MEMBER_NAME_PATTERN } from '../base/limits.js';
import { MemberWeight, type BalanceView, type SetBalance } from '../manage/api.js';
import { ManageClient } from '../manage/client.js';
import type { CliDoor } from './door.js';
import {
  collect,
  duration,
  flag,
  manageOptions,
  parseOptions,
  refuseBoth,
  repeated,
  wholeNumber,
  withManage,
} from './options.js';
import { describeLabels, emit, formatMs, table } from './output.js';

const PRESETS = { default: DEFAULT_SETTINGS, demonstration: DEMONSTRATION_SETTINGS };
/** A policy, or settings that come together. */
export const balancePreset = z.enum([...POLICIES, 'demonstration'], {
  error: `is none of ${[...POLICIES, 'demonstration'].join(', ')}`,
});

/** What a preset changes. */
export function settingsOf(preset: z.infer<typeof balancePreset>): NonNullable<SetBalance['settings']> {
  return preset === 'demonstration' ? DEMONSTRATION_SETTINGS : { policy: preset };
}

const ratio = z
  .string()
  .regex(/^\d{1,3}(\.\d{1,4})?$/, 'is no number such as 1.25')
  .transform(Number);

/** MEMBER=WEIGHT. */
const memberWeight = z.string().transform((text, context): [string, number] => {
  const [name = '', given = '', ...more] = text.split('=');
  const isWeight = more.length === 0 && MEMBER_NAME_PATTERN.test(name) && /^\d{1,4}(\.\d{1,4})?$/.test(given);
  const weight = MemberWeight.safeParse(isWeight ? Number(given) : 0);
  if (isWeight && weight.success) return [name, weight.data];
  const message = isWeight ? weight.error?.issues[0]?.message : undefined;
  context.addIssue({ code: 'custom', message: message ?? 'is not MEMBER=WEIGHT such as m1=2' });
  return z.NEVER;
});

/** MEMBER:KEY=VALUE. */
const memberLabel = z.string().transform((text, context) => {
  const match = /^([^:=]+):([^:=]+)=([^:=]*)$/.exec(text);
  const [, member = '', key = '', value = ''] = match ?? [];
  const isValue = value === '' || LABEL_PATTERN.test(value);
  if (MEMBER_NAME_PATTERN.test(member) && LABEL_PATTERN.test(key) && isValue)
    return { member, key, value: value === '' ? null : value };
  context.addIssue({ code: 'custom', message: 'is not MEMBER:KEY=VALUE such as m1:kind=database' });
  return z.NEVER;
});

const Options = z.object({
  ...manageOptions,
  policy: z.enum(POLICIES, { error: `is none of ${POLICIES.join(', ')}` }).optional(),
  preset: z.enum(['default', 'demonstration'], { error: 'is neither default nor demonstration' }).optional(),
  window: duration.pipe(SettingBounds.windowMs).optional(),
  coolDown: duration.pipe(SettingBounds.coolDownMs).optional(),
  payBack: duration.pipe(SettingBounds.payBackMs).optional(),
  latencyGap: duration.pipe(SettingBounds.latencyGapMs).optional(),
  moves: wholeNumber.pipe(SettingBounds.movesMax).optional(),
  shareHigh: ratio.pipe(SettingBounds.shareHigh).optional(),
  shareLow: ratio.pipe(SettingBounds.shareLow).optional(),
  wholeVolumes: flag,
  splitVolumes: flag,
  weight: repeated(memberWeight),
  memberLabel: repeated(memberLabel),
});

export function addBalance(program: Command, door: CliDoor): void {
  withManage(program.command('balance').description('how the group balances itself, shown or changed'), door)
    .option('--policy <policy>', `${POLICIES.join(', ')}`)
    .option('--preset <name>', 'default, or demonstration: in seconds what otherwise takes minutes')
    .option('--window <time>', 'what is measured together, such as 30s')
    .option('--cool-down <time>', 'how long what has moved stays')
    .option('--pay-back <time>', 'within which a move must pay for itself')
    .option('--latency-gap <time>', 'latency-gap: how far above the lowest, such as 20ms')
    .option('--moves <count>', 'moves under way at a time')
    .option('--share-high <ratio>', 'of its fair share, from which a member gives away')
    .option('--share-low <ratio>', '... and until which')
    .option('--whole-volumes', 'only whole volumes move')
    .option('--split-volumes', 'single extents may move, too')
    .option(
      '--weight <member=number>',
      'how much it takes beside the others; 0: nothing; may be repeated',
      collect,
    )
    .option(
      '--member-label <member:key=value>',
      'a label of a member; MEMBER:KEY= takes it away; may be repeated',
      collect,
    )
    .action((raw: Record<string, unknown>) => balance(door, raw));
}

async function balance(door: CliDoor, raw: Record<string, unknown>): Promise<void> {
  const options = parseOptions(Options, raw);
  refuseBoth('whole-volumes', options.wholeVolumes, 'split-volumes', options.splitVolumes);
  const wanted = wantedOf(options);
  const client = new ManageClient(options.manage);
  const view = wanted === null ? await client.balance() : await client.setBalance(wanted);
  emit(door, options.json, view, describeBalance);
}

/** Null: nothing is to be changed. */
function wantedOf(options: z.infer<typeof Options>): SetBalance | null {
  const { policy, shareHigh, shareLow, wholeVolumes, splitVolumes } = options;
  const given = {
    policy,
    windowMs: options.window,
    coolDownMs: options.coolDown,
    payBackMs: options.payBack,
    latencyGapMs: options.latencyGap,
    movesMax: options.moves,
    ...{ shareHigh, shareLow },
    splitsVolumes: wholeVolumes ? false : splitVolumes ? true : undefined,
  };
  const settings = {
    ...(options.preset && PRESETS[options.preset]),
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  };
  const members: NonNullable<SetBalance['members']> = {};
  for (const [name, weight] of options.weight) members[name] = { ...members[name], weight };
  for (const { member, key, value } of options.memberLabel) {
    members[member] = { ...members[member], labels: { ...members[member]?.labels, [key]: value } };
  }
  const isChange = Object.keys(settings).length > 0 || Object.keys(members).length > 0;
  return isChange ? { settings, members } : null;
}

function describeBalance({ settings, members, unreadable }: BalanceView): string {
  const rows = [
    ['window', formatMs(settings.windowMs)],
    ['cool-down', formatMs(settings.coolDownMs)],
    ['pays back within', formatMs(settings.payBackMs)],
    ['moves at a time', settings.movesMax],
    ['gives away', `above ${settings.shareHigh} of the fair share, until ${settings.shareLow}`],
    ['acts from', `${settings.busyMin * 100} % in use`],
    ['latency gap', formatMs(settings.latencyGapMs)],
    ['moves', settings.splitsVolumes ? 'volumes and single extents' : 'whole volumes'],
  ];
  const parts = [table(['policy'], rows, settings.policy)];
  const said = Object.entries(members).map(([name, { weight, labels }]) => [
    name,
    weight,
    describeLabels(labels),
  ]);
  if (said.length > 0) parts.push(table(['member', 'weight', 'labels'], said));
  const unread = Object.entries(unreadable);
  if (unread.length > 0)
    parts.push(table(['volume', "stays, since what 'volume set' said of it cannot be read"], unread));
  return parts.join('\n\n');
}

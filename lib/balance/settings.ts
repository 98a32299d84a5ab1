/** How a group balances itself: one record for all members, with defaults for an ordinary group. */
import { z } from 'zod';

export const POLICIES = ['none', 'share', 'latency-gap', 'heat'] as const;

/** A number whose bounds are said where it is out of them. */
function between(min: number, max: number, unit = ''): z.ZodNumber {
  return z.number(`is not between ${min} and ${max}${unit}`).min(min).max(max);
}

function milliseconds(min: number): z.ZodNumber {
  return between(min, 86_400_000, ' ms').int('is no whole number of ms');
}

const settings = z.strictObject({
  policy: z.enum(POLICIES),
  /** What is measured together, and how long a disproportion must last before anything moves. */
  windowMs: milliseconds(500),
  /** A vector older than this is not acted on. Three windows where it is not set. */
  staleMs: milliseconds(0).nullable(),
  /** An extent that has moved stays this long. */
  coolDownMs: milliseconds(0),
  /** Moves under way at a time, those that people asked for included. */
  movesMax: between(1, 64).int('is no whole number'),
  /** A member whose share of the requests, over its fair share, is above the first gives away, until it is at the second. */
  shareHigh: between(1, 100),
  shareLow: between(1, 100),
  /** Below this utilisation of its busiest resource a member has not too much, whatever its share. */
  busyMin: between(0, 1),
  /** 'latency-gap': how far above the lowest a member's mean latency has to be. */
  latencyGapMs: between(0, 10_000, ' ms'),
  /** What a move wins must pay for what it costs within this time. */
  payBackMs: milliseconds(0),
  /** Whether parts of a volume may go, or only all of it. */
  splitsVolumes: z.boolean(),
});

/** What each of them can be. */
export const SettingBounds = settings.shape;
/** As they are recorded; what a record does not say is as in an ordinary group. */
export const BalanceSettings = z.object({
  ...settings.shape,
  policy: settings.shape.policy.default('heat'),
  windowMs: settings.shape.windowMs.default(30_000),
  staleMs: settings.shape.staleMs.default(null),
  coolDownMs: settings.shape.coolDownMs.default(600_000),
  movesMax: settings.shape.movesMax.default(2),
  shareHigh: settings.shape.shareHigh.default(1.25),
  shareLow: settings.shape.shareLow.default(1.1),
  busyMin: settings.shape.busyMin.default(0.3),
  latencyGapMs: settings.shape.latencyGapMs.default(20),
  payBackMs: settings.shape.payBackMs.default(600_000),
  splitsVolumes: settings.shape.splitsVolumes.default(true),
});
/** As they are changed: what is absent stays. */
export const BalanceSettingsChange = settings.partial();
export type BalanceSettings = z.infer<typeof BalanceSettings>;

export const DEFAULT_SETTINGS: BalanceSettings = BalanceSettings.parse({});

/** For demonstrations: what an ordinary group does in minutes, in seconds. */
export const DEMONSTRATION_SETTINGS: BalanceSettings = {
  ...DEFAULT_SETTINGS,
  windowMs: 4_000,
  coolDownMs: 60_000,
  payBackMs: 120_000,
};

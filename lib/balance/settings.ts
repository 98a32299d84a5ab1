/** How a group balances itself: one record for all members, with defaults for an ordinary group. */
import { z } from 'zod';

export const POLICIES = ['none', 'share', 'latency-gap', 'heat'] as const;

const milliseconds = z.number().int().min(0).max(86_400_000);

const settings = z.strictObject({
  policy: z.enum(POLICIES),
  /** What is measured together, and how long a disproportion must last before anything moves. */
  windowMs: milliseconds.min(500),
  /** A vector older than this is not acted on. Three windows where it is not set. */
  staleMs: milliseconds.nullable(),
  /** An extent that has moved stays this long. */
  coolDownMs: milliseconds,
  /** Moves under way at a time, those that people asked for included. */
  movesMax: z.number().int().min(1).max(64),
  /** A member whose share of the requests, over its fair share, is above the first gives away, until it is at the second. */
  shareHigh: z.number().min(1).max(100),
  shareLow: z.number().min(1).max(100),
  /** Below this utilisation of its busiest resource a member has not too much, whatever its share. */
  busyMin: z.number().min(0).max(1),
  /** 'latency-gap': how far above the lowest a member's mean latency has to be. */
  latencyGapMs: z.number().min(0).max(10_000),
  /** What a move wins must pay for what it costs within this time. */
  payBackMs: milliseconds,
  /** Whether parts of a volume may go, or only all of it. */
  splitsVolumes: z.boolean(),
});

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

/** 'share': requests are counted, whatever they ask of a member; the weight says what is fair. */
import type { RuleOf } from '../rule.js';
import { FairShare } from './fair-share.js';

export const shareRule: RuleOf = (standing, settings) =>
  new FairShare('share', false, standing, settings, ({ picture }) => picture.weight);

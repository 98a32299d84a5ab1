/**
 * 'heat': members are queues of different speed (model.ts). What is evened out is how busy their busiest resource is, so a
 * slow member has fewer requests; a move must win more time for the group's requests than its copy costs them.
 */
import type { RuleOf } from '../rule.js';
import { FairShare } from './fair-share.js';

/** Nothing is known of what requests cost: all members are alike then. */
const UNKNOWN_DEMAND_MS = 1;

/** The weight is a person's word on top of what is measured: at 0.5 a member is to be half as busy as the others. */
export const heatRule: RuleOf = (standing, settings) =>
  new FairShare('heat', true, standing, settings, ({ picture, demand }) => {
    const demandMs = Math.max(demand.storageMs, demand.loopMs);
    return picture.weight / (demandMs === 0 ? UNKNOWN_DEMAND_MS : demandMs);
  });

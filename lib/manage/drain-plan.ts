/** Which moves empty a member, worked out from volumes and routes. Pure: asks nobody, moves nothing. */
import { BlockferryError } from '../base/errors.js';
import type { CreateMove, MemberView, RouteView, VolumeView } from './api.js';

/** Those that something may be sent to: who is up and not to be empty, or, where nobody is, whoever is up. */
export function takersAmong(
  members: readonly MemberView[],
  isToBeEmpty: (member: string) => boolean,
): string[] {
  const up = members.filter(({ alive }) => alive).map(({ name }) => name);
  const takers = up.filter((name) => !isToBeEmpty(name));
  return takers.length > 0 ? takers : up;
}

/**
 * A volume at home here moves as a whole, to the living member that will then hold the least; extents held here for
 * another home go to that home, if it takes anything. Throws UNAVAILABLE when no other member is up.
 * @param isToBeEmpty members that are to take nothing as long as there is another one
 */
export function planDrain(
  member: string,
  members: readonly MemberView[],
  volumes: readonly VolumeView[],
  routes: ReadonlyMap<string, RouteView>,
  isToBeEmpty: (member: string) => boolean,
): CreateMove[] {
  const others = takersAmong(
    members.filter(({ name }) => name !== member),
    isToBeEmpty,
  );
  if (others.length === 0) {
    throw new BlockferryError(
      'UNAVAILABLE',
      `no other member is up to take what ${member} holds`,
      "start one, or wait until 'blockferry status' shows one up",
    );
  }
  const heldBytes = new Map(others.map((name) => [name, bytesHeldBy(name, volumes)]));
  const moves: CreateMove[] = [];
  for (const volume of volumes) {
    const wholly = volume.home === member;
    const range = wholly ? null : spanHeldBy(member, routes.get(volume.name));
    if (!wholly && range === null) continue;
    const to = !wholly && heldBytes.has(volume.home) ? volume.home : leastLoaded(heldBytes);
    heldBytes.set(to, (heldBytes.get(to) ?? 0) + (wholly ? volume.size : bytesOf(member, volume)));
    moves.push({ volume: volume.name, to, extents: range });
  }
  return moves;
}

function bytesOf(member: string, volume: VolumeView): number {
  return (volume.holders[member] ?? 0) * volume.extentSize;
}

function bytesHeldBy(member: string, volumes: readonly VolumeView[]): number {
  return volumes.reduce((sum, volume) => sum + bytesOf(member, volume), 0);
}

function leastLoaded(heldBytes: ReadonlyMap<string, number>): string {
  return [...heldBytes].reduce((least, next) => (next[1] < least[1] ? next : least))[0];
}

/** The smallest range that covers what the member holds; extents of others inside it move along. */
function spanHeldBy(member: string, route: RouteView | undefined): { first: number; last: number } | null {
  const runs = (route?.runs ?? []).filter((run) => run.holder === member);
  const [first, last] = [runs[0], runs.at(-1)];
  return first === undefined || last === undefined ? null : { first: first.first, last: last.last };
}

/** A member of weight 0 gives all it has, busy or not, whatever it costs: somebody wants it empty. */
import type { VolumeLoad } from '../load/vector.js';
import type { ExtentRange, VolumePicture } from './contract.js';
import { byName, type Draft, type Option } from './draft.js';
import { heatOf, withoutCooling } from './ranges.js';
import { requestsOf, type MemberLoad } from './standing.js';
import { wholeOption } from './search.js';

/** What is to go, by member and name. */
export function toDrain(draft: Draft): { from: MemberLoad; volumes: VolumePicture[] }[] {
  const leaving = draft.standing.members.filter(({ picture }) => picture.weight === 0);
  if (leaving.length === 0) return [];
  const all = [...draft.picture.volumes.values()].sort(byName);
  return leaving
    .map((from) => ({
      from,
      volumes: all.filter(({ home, holders }) => home === from.name || holders.has(from.name)),
    }))
    .filter(({ volumes }) => volumes.length > 0);
}

/** Takes what the budget allows. */
export function drain(draft: Draft, leaving: ReturnType<typeof toDrain>): void {
  for (const { from, volumes } of leaving) {
    const loads = new Map(from.vector.volumes.map((load) => [load.volume, load]));
    for (const volume of volumes) {
      if (draft.budget <= 0) return;
      drainVolume(draft, from, volume, loads.get(volume.name));
    }
  }
}

function drainVolume(
  draft: Draft,
  from: MemberLoad,
  volume: VolumePicture,
  load: VolumeLoad | undefined,
): void {
  const isWhole = volume.home === from.name || volume.holders.size === 1;
  const because =
    draft.barOf(volume) ?? (isWhole && draft.isCooling(volume) ? 'it has moved not long ago' : null);
  const receivers = draft.receiversFor(volume);
  const options = receivers.map(
    (to) => () => (isWhole ? whole(volume, from, to, load) : run(draft, volume, from, to, load)),
  );
  for (const make of options) {
    const option = make();
    if (option === null) break;
    if (because !== null) {
      draft.isHeld = true;
      draft.reject(draft.candidateOf(option), because);
      return;
    }
    if (option.to.freeBytes < option.bytes) continue;
    draft.take(option, draft.candidateOf(option), `${from.name} is to be empty (weight 0)`);
    return;
  }
  draft.isHeld = true;
}

function whole(
  volume: VolumePicture,
  from: MemberLoad,
  to: MemberLoad,
  load: VolumeLoad | undefined,
): Option {
  return wholeOption(volume, from, to, load === undefined ? 0 : requestsOf(load));
}

/** The first run that may go, of a volume that lives elsewhere. */
function run(
  draft: Draft,
  volume: VolumePicture,
  from: MemberLoad,
  to: MemberLoad,
  load: VolumeLoad | undefined,
): Option | null {
  const runs = volume.runs().filter(({ holder }) => holder === from.name);
  const [range] = withoutCooling(runs, volume.cooling, draft.picture.nowMs);
  if (range === undefined) return null;
  const extents = range.last - range.first + 1;
  const bytes = Math.min(extents * volume.extentBytes, volume.usedBytes);
  const requests = load === undefined ? 0 : requestsIn(range, volume.holders.get(from.name) ?? extents, load);
  return {
    volume,
    extents: { first: range.first, last: range.last },
    from,
    to,
    requests,
    bytes,
    exchange: null,
  };
}

function requestsIn({ first, last }: ExtentRange, extents: number, load: VolumeLoad): number {
  const { coldRequests } = heatOf(load.hot, extents, requestsOf(load));
  const inside = load.hot.filter(([extent]) => extent >= first && extent <= last);
  const hot = inside.reduce((sum, [, requests]) => sum + requests, 0);
  return hot + (last - first + 1 - inside.length) * coldRequests;
}

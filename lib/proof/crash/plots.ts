/** What goes on when the blow falls, plot by plot: how it begins, and what has to be so when it has ended. */
import { sleep, systemClock } from '../../base/clock.js';
import { describeError } from '../../base/errors.js';
import { initiatorIqn } from '../../base/iscsi-names.js';
import { Initiator } from '../../iscsi/initiator/index.js';
import type { MoveView } from '../../manage/api.js';
import { Running } from '../../bench/process.js';
import { endOfMove } from '../../bench/servers.js';
import { fillWhole } from '../filled.js';
import { MEMBER_OF, type Place, type Plot } from './cases.js';
import { MOVE_MS_MAX, VOLUME, type Scene } from './scene.js';

/** Resolves when what was asked for has ended, with what is not as it should be then. */
export type PlotEnd = () => Promise<string[]>;
/** Gives the order; from then on the blow may fall. */
type Arm = () => void;

const POLL_MS = 30;
/** A departed copy is punched after the move has ended. */
const SPACE_MS_MAX = 3_000;
/** What a file system may keep of a file that is one hole. */
const SPACE_BYTES = 64 * 1024;
const OTHER = 'other';
const BLOCK_BYTES = 512;

export function beginPlot(place: Place, scene: Scene, arm: Arm): Promise<PlotEnd> {
  return PLOTS[place.plot](scene, arm, place);
}

const PLOTS: Readonly<Record<Plot, (scene: Scene, arm: Arm, place: Place) => Promise<PlotEnd>>> = {
  part: async (scene, arm) => {
    arm();
    return moveEnds(scene, await moveAway(scene, false), MEMBER_OF.source);
  },

  whole: async (scene, arm) => {
    arm();
    return moveEnds(scene, await moveAway(scene, true), MEMBER_OF.source, MEMBER_OF.home);
  },

  restart: async (scene, arm, { by }) => {
    arm();
    const move = await moveAway(scene, false);
    scene.willDie(MEMBER_OF[by]);
    process.kill(await scene.pidOf(MEMBER_OF[by]), 'SIGKILL');
    return moveEnds(scene, move, MEMBER_OF.source);
  },

  drain: async (scene, arm) => {
    await scene.makeVolume(OTHER, 8);
    await fill(scene, OTHER);
    arm();
    const program = process.argv[1] ?? '';
    const args = [program, 'drain', MEMBER_OF.home, '--json', '--manage', scene.client.url];
    const running = Running.start(process.execPath, [
      program.replace(/proof\.js$/, 'blockferry.js'),
      ...args.slice(1),
    ]);
    return async () => {
      await running.whenEnded();
      const faults = running.child.exitCode === 0 ? [] : [`the drain failed: ${running.stderr.trim()}`];
      for (const volume of [VOLUME, OTHER]) {
        const route = await scene.client.route(volume);
        const isLeft =
          route.home === MEMBER_OF.home || route.runs.some((run) => run.holder === MEMBER_OF.home);
        if (isLeft) faults.push(`${volume} is still at ${MEMBER_OF.home}`);
      }
      return [
        ...faults,
        ...(await leaks(scene, VOLUME, [MEMBER_OF.home])),
        ...(await leaks(scene, OTHER, [MEMBER_OF.home])),
      ];
    };
  },

  create: async (scene, arm) => {
    arm();
    await scene.makeVolume(OTHER, 4);
    return async () => faultsOfNew(scene);
  },

  delete: async (scene, arm) => {
    await scene.makeVolume(OTHER, 4);
    await fill(scene, OTHER);
    arm();
    await scene.client.deleteVolume(OTHER);
    return async () => {
      await scene.makeVolume(OTHER, 4);
      return faultsOfNew(scene);
    };
  },
};

function moveAway(scene: Scene, isWhole: boolean): Promise<MoveView> {
  const extents = isWhole ? null : scene.movedExtents;
  return scene.patiently(() =>
    scene.client.createMove({ volume: VOLUME, to: MEMBER_OF.destination, extents }),
  );
}

/** @param emptied members that hold nothing of the volume afterwards */
function moveEnds(scene: Scene, begun: MoveView, ...emptied: string[]): PlotEnd {
  return async () => {
    const move = await endOfMove(scene.client, begun, { pollMs: POLL_MS, msMax: MOVE_MS_MAX });
    if (move.state !== 'done') return [`the move ${move.state}: ${move.error}`];
    const route = await scene.client.route(VOLUME);
    const { first, last } = move.range ?? { first: 0, last: route.extents - 1 };
    const faults = route.runs
      .filter((run) => run.first <= last && run.last >= first && run.holder !== move.to)
      .map((run) => `extents ${run.first}-${run.last} are at ${run.holder} after the move`);
    if (move.range === null && route.home !== move.to)
      faults.push(`the home is ${route.home} after the move`);
    return [...faults, ...(await leaks(scene, VOLUME, emptied))];
  };
}

/** Members that hold nothing of a volume keep no space for it, and those that hold it do: it is full. */
async function leaks(scene: Scene, volume: string, members: readonly string[]): Promise<string[]> {
  const deadlineMs = systemClock.nowMs() + SPACE_MS_MAX;
  for (;;) {
    const faults = faultsOfSpace(await scene.spaces(volume), volume, members);
    if (faults.length === 0 || systemClock.nowMs() > deadlineMs) return faults;
    await sleep(systemClock, POLL_MS);
  }
}

/** @param emptied members that may have no space for the volume */
export function faultsOfSpace(
  spaces: ReadonlyMap<string, number>,
  volume: string,
  emptied: readonly string[],
): string[] {
  const kept = [...spaces].filter(([, bytes]) => bytes > SPACE_BYTES);
  // Looked for in the wrong place, it would take no space anywhere.
  if (kept.length === 0) return [`${volume} has space nowhere`];
  return kept
    .filter(([member]) => emptied.includes(member))
    .map(([member, bytes]) => `${member} keeps space of ${volume}: ${bytes} bytes`);
}

async function fill(scene: Scene, volume: string): Promise<void> {
  const initiator = await Initiator.connect(scene.url(volume), {
    initiatorName: initiatorIqn('filler'),
  });
  await fillWhole(initiator, { seed: 77 });
  await initiator.close();
}

/** A new volume reads as zeros and keeps what is written to it. */
async function faultsOfNew(scene: Scene): Promise<string[]> {
  try {
    const initiator = await Initiator.connect(scene.url(OTHER), {
      initiatorName: initiatorIqn('new'),
    });
    const { blocks } = initiator.capacity;
    const found = await initiator.read(0, Math.min(blocks, 1024));
    const faults = found.every((byte) => byte === 0) ? [] : ['a new volume holds what was there before'];
    const data = Buffer.alloc(BLOCK_BYTES, 0xab);
    await initiator.write(1, data, { fua: true });
    if (!(await initiator.read(1, 1)).equals(data)) faults.push('a new volume does not keep what is written');
    await initiator.close();
    return faults;
  } catch (error) {
    return [`the new volume: ${describeError(error)}`];
  }
}

/**
 * The destination's disk refuses one write of a move under load, once all was copied: the move ends, one extent at most is
 * copied again, and every byte is right. Initiators see nothing of it; with a strict move one write fails, and succeeds
 * when it is sent again (I6).
 */
import { sleep, systemClock } from '../../base/clock.js';
import { describeError } from '../../base/errors.js';
import { initiatorIqn } from '../../base/iscsi-names.js';
import { Scope } from '../../bench/scope.js';
import { endOfMove } from '../../bench/servers.js';
import { within } from '../../bench/within.js';
import { Initiator } from '../../iscsi/initiator/index.js';
import type { MoveView } from '../../manage/api.js';
import type { Line } from '../figures.js';
import { MEMBER_OF } from './cases.js';
import { EXTENT_BYTES, EXTENTS, JUDGE_MS_MAX, MOVE_MS_MAX, Scene, VOLUME } from './scene.js';

const FIGURES_MS = 500;
const HOST_NAME = initiatorIqn('host');
const BLOCK_BYTES = 4096;
const WRITERS = 4;
/** ABORTED COMMAND. */
const ABORTED = /CHECK CONDITION, sense B\//;
/** Of a write that is sent again. */
const TRIES_MAX = 20;
/** How often a scene is played in which no write met the full disk. */
const PLAYS_MAX = 3;

export async function runRefusals(workFolder: string): Promise<Line[]> {
  return [await refuse(workFolder, false), await refuse(workFolder, true)];
}

/** Where other work holds the load up, nothing is written between the last copy and the commit: nothing is shown then. */
async function refuse(workFolder: string, strict: boolean): Promise<Line> {
  for (let plays = 1; ; plays++) {
    const { isUnmet, ...line } = await play(workFolder, strict);
    if (!isUnmet || plays === PLAYS_MAX) return line;
  }
}

async function play(workFolder: string, strict: boolean): Promise<Line & { readonly isUnmet: boolean }> {
  const scope = new Scope();
  try {
    const scene = await Scene.open(workFolder, scope);
    await scene.makeVolume(VOLUME, EXTENTS);
    await scene.spread();
    const host = new PatientHost(await Initiator.connect(scene.url(), { initiatorName: HOST_NAME }), scene);
    scope.defer(() => host.initiator.close());
    if (strict) await host.begin();
    else await scene.load(scope);
    const move = await moveOnto(scene, strict);
    const wrong = strict ? [...(await hostEnds(host)), ...scene.deathFaults()] : (await scene.judge()).faults;
    const { bytesRecopied, restarts } = move;
    const refused = strict ? `, ${host.refused} writes failed and were taken when sent again` : '';
    return {
      isUnmet: wrong.length === 0 && scene.desk.wasUnmet(MEMBER_OF.destination),
      text: `${strict ? 'a strict' : 'a'} move whose destination refuses one write: ${restarts} restart, ${bytesRecopied} bytes copied again${refused}${wrong.map((fault) => `; ${fault}`).join('')}`,
      holds:
        move.state === 'done' &&
        restarts === 1 &&
        bytesRecopied > 0 &&
        bytesRecopied <= EXTENT_BYTES &&
        wrong.length === 0 &&
        host.refused >= (strict ? 1 : 0),
    };
  } finally {
    await scope.close();
  }
}

/**
 * The source's extents move; from the moment that all is copied until all is held for the commit, the destination's disk is
 * full for one write into them. Later they are the destination's, and a refusal is rightly the initiator's.
 */
async function moveOnto(scene: Scene, strict: boolean): Promise<MoveView> {
  const { first, last } = scene.movedExtents;
  const range = { fromBytes: first * EXTENT_BYTES, toBytes: (last + 1) * EXTENT_BYTES };
  const fullDisk = { member: MEMBER_OF.destination, ...range, until: 'batch.sealed' as const };
  scene.desk.give(MEMBER_OF.source, { point: 'batch.mirrored', nth: 1, victims: [], fullDisk });
  const order = { volume: VOLUME, to: MEMBER_OF.destination, extents: scene.movedExtents, strict };
  const move = await endOfMove(scene.client, await scene.client.createMove(order), { msMax: MOVE_MS_MAX });
  // The home has ended it; the source's last figures follow.
  await sleep(systemClock, FIGURES_MS);
  return scene.client.move(move.id);
}

function hostEnds(host: PatientHost): Promise<string[]> {
  return within(host.end(), JUDGE_MS_MAX, 'a write of the patient host is not answered');
}

/** Writes into what moves, and sends again what was refused, as a host does; knows what must stand in each block. */
class PatientHost {
  refused = 0;
  private readonly faults: string[] = [];
  private readonly model: Buffer;
  private stopped = false;
  private writers: Promise<void>[] = [];

  constructor(
    readonly initiator: Initiator,
    private readonly scene: Scene,
  ) {
    this.model = Buffer.alloc(this.lengthBytes, 1);
  }

  private get lengthBytes(): number {
    const { first, last } = this.scene.movedExtents;
    return (last + 1 - first) * EXTENT_BYTES;
  }

  async begin(): Promise<void> {
    for (let at = 0; at < this.lengthBytes; at += EXTENT_BYTES)
      await this.initiator.write(this.lbaOf(at), this.model.subarray(at, at + EXTENT_BYTES));
    this.writers = Array.from({ length: WRITERS }, (_, index) => this.write(index));
  }

  /** @returns what was wrong */
  async end(): Promise<string[]> {
    this.stopped = true;
    await Promise.all(this.writers);
    for (let at = 0; at < this.lengthBytes; at += EXTENT_BYTES) {
      const found = await this.initiator.read(this.lbaOf(at), EXTENT_BYTES / this.blockBytes);
      if (!found.equals(this.model.subarray(at, at + EXTENT_BYTES))) this.faults.push(`wrong bytes at ${at}`);
    }
    return this.faults;
  }

  private get blockBytes(): number {
    return this.initiator.capacity.blockBytes;
  }

  private lbaOf(atBytes: number): number {
    return (this.scene.movedExtents.first * EXTENT_BYTES + atBytes) / this.blockBytes;
  }

  /** Every fourth block is this writer's. */
  private async write(index: number): Promise<void> {
    const blocks = this.lengthBytes / BLOCK_BYTES / WRITERS;
    for (let i = 0; !this.stopped; i++) {
      // 97 shares no divisor with the number of blocks: all of them come up.
      const at = (((i * 97) % blocks) * WRITERS + index) * BLOCK_BYTES;
      const data = Buffer.alloc(BLOCK_BYTES, 2 + (i % 250));
      await this.writeUntilTaken(at, data).catch((error: unknown) => this.faults.push(describeError(error)));
      data.copy(this.model, at);
    }
  }

  private async writeUntilTaken(at: number, data: Buffer): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        await this.initiator.write(this.lbaOf(at), data);
        return;
      } catch (error) {
        if (!ABORTED.test(describeError(error)) || tries === TRIES_MAX) throw error;
        this.refused += 1;
      }
    }
  }
}

/**
 * Hubs on loopback, requests that count their answers, a wire between two hubs that flips bits of chosen frames; and a hub
 * without any network, for slots of other members.
 */
import assert from 'node:assert/strict';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { systemClock } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import { submitAndWait, type BlockIo, type BlockOp } from '../../lib/block/device.js';
import {
  PeerRequest,
  PeerStatus,
  PeerType,
  type IncomingRequest,
  type PeerAddress,
  type PeerHub,
} from '../../lib/peer/contract.js';
import { FRAME_HEADER_BYTES } from '../../lib/peer/frame.js';
import { Hub, type HubOptions } from '../../lib/peer/hub.js';
import type { RemoteSlot, RemoteVolume } from '../../lib/peer/remote-slot.js';

export type Handler = (request: IncomingRequest) => void;

export const echo: Handler = (request) => request.answer(PeerStatus.OK, request.payload, request.epoch);

export interface HubChoices extends Partial<Pick<HubOptions, 'group' | 'digests' | 'log' | 'clock'>> {
  readonly incarnation?: string;
  readonly verifier?: string;
}

export function makeHub(name: string, handle: Handler = echo, choices: HubChoices = {}): Hub {
  const { incarnation = `${name}-1`, verifier = '', ...rest } = choices;
  return new Hub({
    group: 'g',
    self: { name, incarnation, verifier },
    service: { handle },
    clock: systemClock,
    random: new SeededRandom(7),
    log: silentLog,
    ...rest,
  });
}

export class Counted extends PeerRequest {
  answers = 0;
  status = -1;
  insideSend = false;
  private sending = false;
  private readonly done: Promise<void>;
  private resolve: () => void = () => {};
  constructor() {
    super();
    this.done = new Promise((resolve) => (this.resolve = resolve));
  }
  override answered(status: number): void {
    this.answers += 1;
    this.status = status;
    if (this.sending) this.insideSend = true;
    this.resolve();
  }
  through(hub: Hub, member: string): Promise<void> {
    this.sending = true;
    hub.send(member, this);
    this.sending = false;
    return this.done;
  }
}

export function write(bytes: number, offsetBytes = 0): Counted {
  const request = new Counted();
  request.type = PeerType.WRITE;
  request.payload = Buffer.alloc(bytes, 7);
  request.lengthBytes = bytes;
  request.offsetBytes = offsetBytes;
  return request;
}

/** One bit to flip: of the next frame of `type`, in the direction given. */
export interface Flip {
  readonly type: number;
  readonly isAnswer: boolean;
  /** From the frame's first byte. */
  readonly byte: number;
  readonly bit: number;
}

/** Passes connections on to `target`; knows where frames begin, and spoils the one that it is told to. */
export class FlippingWire {
  flip: Flip | null = null;
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer((near) => this.pass(near));

  constructor(private readonly target: PeerAddress) {}

  async listen(): Promise<PeerAddress> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return { host: '127.0.0.1', port: (this.server.address() as AddressInfo).port };
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private pass(near: Socket): void {
    const far = connect(this.target);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(from);
      let rest: Buffer = Buffer.alloc(0);
      from.on('data', (chunk: Buffer) => {
        rest = this.passFrames(Buffer.concat([rest, chunk]), to);
      });
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
    }
  }

  /** Sends the complete frames on; returns the rest. */
  private passFrames(bytes: Buffer, to: Socket): Buffer {
    let at = 0;
    while (bytes.length - at >= FRAME_HEADER_BYTES) {
      const end = at + FRAME_HEADER_BYTES + bytes.readUInt32LE(at);
      if (end > bytes.length) break;
      const frame = bytes.subarray(at, end);
      const { flip } = this;
      if (flip !== null && frame[4] === flip.type && ((frame[5] ?? 0) & 1) === Number(flip.isAnswer)) {
        this.flip = null;
        frame[flip.byte] = (frame[flip.byte] ?? 0) ^ (1 << flip.bit);
      }
      to.write(frame);
      at = end;
    }
    return bytes.subarray(at);
  }
}

/** A hub whose members answer everything with OK, at once. */
export function agreeingHub(verifierOf: (member: string) => string): PeerHub {
  return {
    send: (_member, request) => void setImmediate(() => request.answered(PeerStatus.OK, Buffer.alloc(0), 1)),
    takesMapped: () => false,
    connect: () => undefined,
    verifierOf,
    setAddress: () => undefined,
    close: () => Promise.resolve(),
  };
}

/** A volume whose route stays as it is. */
export function settledVolume(blockBytes = 512): RemoteVolume {
  return {
    ...{ volumeId: 1, blockBytes },
    epoch: () => 1,
    timesLeftBehind: () => 0,
    refresh: (_seen, done) => void setImmediate(done),
  };
}

/** One block, or a flush, through the slot of a settled volume. */
export async function forward(slot: RemoteSlot, op: BlockOp, fua = false): Promise<void> {
  const origin = { again: () => assert.fail('the route has not changed') };
  const device = { submit: (io: BlockIo) => slot.submit(io, 0, origin) };
  const { blockBytes } = slot.volume;
  if (op === 'flush') await submitAndWait(device, op, 0, 0);
  else await submitAndWait(device, op, 0, blockBytes, Buffer.alloc(blockBytes), fua);
}

/**
 * A volume that every member serves, at the member that is its home, when it is deleted: who waits here until it is known who
 * is home is answered, and nobody is waited for any more.
 */
import t, { type Test } from 'tap';
import type { AccessServer } from '../../lib/access/access-server.js';
import { HomeService } from '../../lib/access/home-service.js';
import { systemClock, type Clock } from '../../lib/base/clock.js';
import { FORWARD_RETRY_MS } from '../../lib/base/limits.js';
import { deleteVolume } from '../../lib/group/admin-volumes.js';
import { SessionRegistry } from '../../lib/iscsi/target/registry.js';
import { Everywhere } from '../../lib/member/everywhere.js';
import { EveryPath } from '../../lib/member/every-path.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../../lib/peer/contract.js';
import { makeRig, type MemberRig } from '../support/member-rig.js';
import { cdb10 } from '../support/scsi-rig.js';
import { nexusOf, said, scsiRunner } from '../support/scsi-runner.js';
import { late, sleepMs, soon, until } from '../support/wait.js';

const BLOCK = 4096;

/** The system's clock, and how often somebody has waited for a home by it. */
class WatchedClock implements Clock {
  looks = 0;
  nowMs = (): number => systemClock.nowMs();
  wallMs = (): number => systemClock.wallMs();

  after(delayMs: number, fire: () => void): ReturnType<Clock['after']> {
    if (delayMs === FORWARD_RETRY_MS) this.looks += 1;
    return systemClock.after(delayMs, fire);
  }
}

/** A member that gives access by every path, alone. */
async function everyPathRig(t: Test) {
  const clock = new WatchedClock();
  const rig = await makeRig(t, clock);
  const self = { name: 'm1', incarnation: 'i' };
  const hub = rig.peers.hub('m1');
  const everywhere = new Everywhere({
    ...{ hub, self, clock },
    others: () => [],
    mayBeRunning: () => true,
    endAbsent: () => Promise.resolve(),
  });
  rig.everyPath = () =>
    new EveryPath({
      ...{ self, hub, clock, everywhere, targetPort: 1, table: rig.table },
      registry: new SessionRegistry(clock),
      members: () => [],
      mayServe: () => rig.host.mayServe(),
    });
  await rig.stop();
  await rig.start();
  return { rig, clock };
}

/** A READ of a session at m2, and what it is answered. */
function readFromElsewhere(rig: MemberRig): Promise<number> {
  return new Promise((answer) => {
    const request: IncomingRequest = {
      ...{ from: 'm2', incarnation: 'm2-1', token: 1, volumeId: 1, extent: 1, epoch: 1 },
      ...{ offsetBytes: 0, lengthBytes: BLOCK, fua: false, payload: Buffer.alloc(0) },
      type: PeerType.COMMAND_READ,
      allocateAnswer: () => Buffer.alloc(BLOCK),
      takesMapped: false,
      answerMapped: () => undefined,
      answer,
    };
    new HomeService(rig.host, 'i').handle(request);
  });
}

/** The volume at this member, which has just been created. */
async function createdHere(rig: MemberRig): Promise<AccessServer> {
  await rig.create();
  await rig.volume(1);
  const access = rig.host.accessOf(1);
  if (access === undefined) throw new Error('its home alone serves it');
  return access;
}

async function givenAway(rig: MemberRig): Promise<AccessServer> {
  const access = await createdHere(rig);
  await until('it is served', () => access.standing === 'here');
  rig.host.givingHome(1, true);
  return access;
}

async function unread(rig: MemberRig): Promise<AccessServer> {
  rig.catchingUp = Promise.reject(new Error('the store is away'));
  rig.catchingUp.catch(() => undefined);
  return createdHere(rig);
}

for (const [why, hold] of [
  ['it is given away', givenAway],
  ['the unit cannot be read', unread],
] as const) {
  t.test(`what is held while ${why} is answered when its volume is deleted`, async (t) => {
    const { rig, clock } = await everyPathRig(t);
    const access = await hold(rig);
    t.equal(access.standing, 'held');
    const nexus = nexusOf('iqn.2026-11.test:a');
    const { run } = scsiRunner(access.nexusBegan(nexus), access);
    const atHome = run(cdb10('2a', 0, 0, 1), Buffer.alloc(BLOCK, 1), 0, nexus).then(said);
    const elsewhere = readFromElsewhere(rig);
    t.equal(await Promise.race([atHome, elsewhere, soon()]), 'still under way');
    await deleteVolume(rig.store, 'v');
    t.equal(await Promise.race([elsewhere, late()]), PeerStatus.REFUSED);
    t.equal(await Promise.race([atHome, late()]), '4/44/00');
    const ended = new Promise<string>((resolve) => access.nexusEnded(nexus, () => resolve('ended')));
    t.equal(await Promise.race([ended, late()]), 'ended');
    const { looks } = clock;
    await sleepMs(5 * FORWARD_RETRY_MS);
    t.equal(clock.looks, looks, 'nobody waits any more');
  });
}

/**
 * Named points on the control paths of a member: every one is a moment after which a crash finds something else on the
 * disk, in the store, or at a peer. A member calls them; what is done there is the affair of whoever hands them in
 * (by default nothing). They are no log and no hook: nothing is told but the name, and nothing comes back.
 *
 * Not on the way of an I/O: a read or write of an initiator passes none of them.
 */

/** In the order of a life. `x` after `y` in a row means that a crash between the two is a case of its own. */
export const WAYPOINTS = [
  // a member starts
  'member.joined', // its record is in the group; no route was read, no file opened
  'member.opened', // volumes are there, it serves nobody yet

  // a volume is made and deleted
  'volume.file-made', // an empty file; its route says that there is none yet
  'volume.begun', // the route says that there is one
  'volume.forgotten', // deleted in the store; its file is still there
  'volume.removed', // its file is gone

  // a move, at its source
  'move.taken', // asked for, and seen
  'move.giving', // the extents to give are known
  'batch.installed', // interceptors stand in the slots
  'extent.begun', // the destination has emptied an extent
  'extent.copied', // a piece of the background copy is there
  'batch.mirrored', // both sides are the same, writes go to both
  'batch.synced', // most of it is on the destination's disk
  'batch.durable', // all of it, as long as mirrored writes are durable
  'batch.held', // writes are held
  'batch.sealed', // everything is held
  'commit.asked', // about to be written to the store
  'commit.done', // written; the interceptors still hold everything
  'batch.given', // I/O goes to the new holder
  'space.given-back', // the departed extents are holes here
  'move.finishing', // about to be declared done
  'move.finished', // declared

  // a move, at its destination
  'destination.opened', // the file is there
  'destination.begun', // an extent is empty and an attempt on it known
  'destination.synced', // what came is durable
  'destination.committed', // it was told that it holds

  // a hand-over
  'home.asked', // about to be written to the store
  'home.done', // written by the old home
  'handover.asked', // the old home's sessions have been told to leave
  'fence.asking', // the new home is about to ask every member
  'fence.draining', // a member is about to drain what the initiator left
  'fence.drained', // nothing is left of it; not answered yet
  'fence.done', // every member has answered; the login has not been

  // the group store
  'store.writing', // inside a transaction
  'store.written', // it is durable; whoever wrote does not know yet
] as const;

export type Waypoint = (typeof WAYPOINTS)[number];

export interface Waypoints {
  reached(point: Waypoint): void;
}

export const noWaypoints: Waypoints = { reached: () => undefined };

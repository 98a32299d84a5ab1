/**
 * What the management API reads and changes in a group, as functions on the group store. Each change is one transaction,
 * tried again when somebody else was first. No member is asked; members see the records change and act.
 */
export {
  balanceOf,
  balanceOrNone,
  getBalance,
  listDecisions,
  listPlacements,
  placementOf,
  putDecision,
  setBalance,
  setPlacement,
  shareOf,
  type BalanceChange,
  type Placement,
  type PlacementChange,
} from './admin-balance.js';
export {
  createMove,
  cancelMove,
  getMove,
  listMoves,
  movingVolumes,
  readMoves,
  type MoveStatus,
  type WantedMove,
} from './admin-moves.js';
export { listCreations, isBeingMade, refuseIfFailed } from './creations.js';
export { createVolume, deleteVolume, ensureGroup, listVolumes, type WantedVolume } from './admin-volumes.js';

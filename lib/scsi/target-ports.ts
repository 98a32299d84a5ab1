/**
 * The target ports through which a unit is reached, and how each stands to it (SPC-4 5.15): implicit asymmetric access.
 * Every port is a target port group of its own, and the group's number is the port's RELATIVE TARGET PORT IDENTIFIER.
 */

/** ASYMMETRIC ACCESS STATE (SPC-4 table 317): the two that we have. */
export const AccessState = { ACTIVE_OPTIMIZED: 0x0, ACTIVE_NON_OPTIMIZED: 0x1 } as const;

export interface PortGroup {
  /** TARGET PORT GROUP, and the identifier of its one port: 1 to 65535. */
  readonly number: number;
  /** See AccessState. */
  readonly state: number;
}

export interface TargetPorts {
  /** The group of the port through which this unit is asked. */
  readonly self: number;
  /** Every group there is now, this one among them. */
  groups(): readonly PortGroup[];
}

/**
 * The socket in the wall of the iSCSI target: what it asks the rest of Blockferry about names. A single image (serve),
 * a member of a group and the group portal each plug in their own directory.
 */
import type { DeviceServer } from '../../scsi/task.js';

/** A target as discovery shows it. Addresses are numeric. */
export interface DirectoryEntry {
  readonly iqn: string;
  readonly addresses: readonly {
    readonly host: string;
    readonly port: number;
    readonly portalGroupTag: number;
  }[];
}

/** What a session needs to serve a volume. */
export interface ServedTarget {
  readonly iqn: string;
  readonly server: DeviceServer;
}

export type TargetAnswer =
  | { readonly kind: 'serve'; readonly target: ServedTarget }
  /** 0101h, temporarily moved (I10): numeric host, no portal group tag. */
  | { readonly kind: 'redirect'; readonly host: string; readonly port: number }
  /** 0203h */
  | { readonly kind: 'unknown' }
  /** 0301h: a member that cannot serve now; the initiator tries again. */
  | { readonly kind: 'unavailable' };

/** Who logs in, for the fence (I8). */
export interface LoginIdentity {
  readonly iqn: string;
  readonly initiatorName: string;
  /** Six bytes as twelve hexadecimal digits. */
  readonly isid: string;
}

export interface TargetDirectory {
  /** For SendTargets. `localHost`/`localPort` are where this connection arrived. */
  list(localHost: string, localPort: number): readonly DirectoryEntry[];
  /**
   * Asked at the first Login Request, since libiscsi follows a redirect only there. May take a look into the store: a
   * directory that is late must not send an initiator back and forth (I10). Rejects: the login gets 0301h.
   */
  resolve(iqn: string): TargetAnswer | Promise<TargetAnswer>;
  /**
   * Asked before the last Login Response of a normal session: drains and fences what this initiator left elsewhere.
   * Resolves when nothing of it can land any more; rejects when that cannot be had in time (the login gets 0301h).
   */
  admit(login: LoginIdentity): Promise<void>;
}

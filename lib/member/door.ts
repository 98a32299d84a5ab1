/**
 * The portal's directory while the member starts: the portal must listen before the group can be told where, and logins
 * that arrive by then wait for the real directory instead of being turned away.
 */
import type {
  DirectoryEntry,
  LoginIdentity,
  TargetAnswer,
  TargetDirectory,
} from '../iscsi/target/directory.js';

export class DirectoryDoor implements TargetDirectory {
  private directory: TargetDirectory | null = null;
  private opened: () => void = () => undefined;
  private readonly whenOpen = new Promise<void>((resolve) => {
    this.opened = resolve;
  });

  open(directory: TargetDirectory): void {
    this.directory = directory;
    this.opened();
  }

  list(localHost: string, localPort: number): readonly DirectoryEntry[] {
    return this.directory?.list(localHost, localPort) ?? [];
  }

  async resolve(iqn: string): Promise<TargetAnswer> {
    await this.whenOpen;
    return this.directory?.resolve(iqn) ?? { kind: 'unavailable' };
  }

  async admit(login: LoginIdentity): Promise<void> {
    await this.directory?.admit(login);
  }
}

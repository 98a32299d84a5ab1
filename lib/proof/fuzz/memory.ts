/** Whether a target's memory stays flat: what it holds after each batch, against what it held when it was warm. */

/** The heap grows and shrinks by some 20 MiB between collections; over a full run this is seven bytes of a PDU. */
export const GROWTH_KIB_MAX = 64 * 1024;

export class MemoryWatch {
  private warmKib: number | null = null;

  /** @param isWarm the first that is begins the measure @returns what is wrong, null while nothing is */
  note(residentKib: number, isWarm: boolean): string | null {
    if (isWarm) this.warmKib ??= residentKib;
    const grownKib = residentKib - (this.warmKib ?? residentKib);
    if (grownKib <= GROWTH_KIB_MAX) return null;
    return `its memory has grown by ${Math.round(grownKib / 1024)} MiB since the warm-up`;
  }
}

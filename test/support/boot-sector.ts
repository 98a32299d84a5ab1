/**
 * A boot sector of our own: says what block 1 says (a text that ends with a zero) at the first serial port, writes that block
 * to block 2, says how that went, and turns QEMU off. 16-bit code at 7C00h; DL is the BIOS's number of the drive.
 */
const CODE = `
  31c0 8ed8 8ed0   xor ax, ax; mov ds, ax; mov ss, ax
  bc007c fc        mov sp, 7C00h; cld
  be4d7c b442 cd13 mov si, packet; mov ah, 42h (read); int 13h
  721c             jc failed
  be007e e82600    mov si, 7E00h; call print
  fe06557c         inc byte [packet + 8]: block 2
  be4d7c b80043    mov si, packet; mov ax, 4300h (write)
  cd13 7208        int 13h; jc failed
  be5d7c e81200    mov si, written; call print
  eb06             jmp off
  be667c e80a00    failed: mov si, text; call print
  ba0406 b80020    off: mov dx, 604h; mov ax, 2000h
  eff4 ebf6        out dx, ax; hlt; jmp off
  52 baf803        print: push dx; mov dx, 3F8h
  ac 84c0 7403     next: lodsb; test al, al; jz end
  ee ebf8          out dx, al; jmp next
  5a c3            end: pop dx; ret
  1000 0100        packet: its length; one block
  007e 0000        to 0000:7E00h
  0100000000000000 from block 1
`;

/** What it says once block 2 is written. */
export const BOOTED = 'written\n';

const WRITTEN_AT = 0x5d;
const FAILED_AT = 0x66;
const BLOCK = 512;

/** Blocks 0 and 1 of a disk that boots and says `text`. */
export function bootBlocks(text: string): Buffer {
  const blocks = Buffer.alloc(2 * BLOCK);
  const hex = CODE.split('\n').map((line) =>
    (/^\s*((?:(?:[0-9a-f]{2})+ )+)/.exec(line)?.[1] ?? '').replaceAll(' ', ''),
  );
  Buffer.from(hex.join(''), 'hex').copy(blocks);
  blocks.write(`${BOOTED}\0`, WRITTEN_AT, 'latin1');
  blocks.write('failed\n\0', FAILED_AT, 'latin1');
  blocks.writeUInt16LE(0xaa55, BLOCK - 2);
  blocks.write(`${text}\0`, BLOCK, 'latin1');
  return blocks;
}

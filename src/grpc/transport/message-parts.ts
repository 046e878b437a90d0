// A large message on its way out need not be in one piece: the connection takes what was read from
// the log as it is, and nothing is copied.

export class Pieces {
  readonly pieces: readonly Uint8Array[];
  /** Bytes of all pieces. */
  readonly length: number;

  constructor(pieces: readonly Uint8Array[]) {
    let length = 0;
    for (const piece of pieces) length += piece.length;
    this.pieces = pieces;
    this.length = length;
  }
}

/** An encoded message. */
export type Message = Buffer | Pieces;

export function inOnePiece(message: Message): Buffer {
  return message instanceof Pieces ? Buffer.concat(message.pieces, message.length) : message;
}

export function piecesOf(message: Message): readonly Uint8Array[] {
  return message instanceof Pieces ? message.pieces : [message];
}

// How a stream of file bytes goes over HTTP: as it is ("plain"), or as JSON frames {Data, File, Offset} one after the
// other, with {} as heartbeat (api 415-421). Pulls from its source only as fast as the reader reads.
import { Buffer } from "node:buffer";

/** A piece of a file; `offset` is where it ends. `event`: what happened to the file. */
export interface Piece {
  file: string;
  data: Uint8Array;
  offset: number;
  event?: "file deleted" | "file truncated";
}

/** Null: nothing new, the line is to be kept alive. */
export type Pieces = AsyncGenerator<Piece | null, void, void>;

const encoder = new TextEncoder();

/** Encodes pieces for the wire. Ending the stream ends the generator. */
export function encodePieces(pieces: Pieces, plain: boolean): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      for (;;) {
        const { done, value } = await pieces.next();
        if (done) return controller.close();
        const bytes = encodePiece(value, plain);
        if (bytes.length > 0) return controller.enqueue(bytes);
      }
    },
    async cancel() {
      await pieces.return();
    },
  }, { highWaterMark: 0 });
}

function encodePiece(piece: Piece | null, plain: boolean): Uint8Array {
  if (plain) return piece?.data ?? new Uint8Array(0);
  if (piece === null) return encoder.encode("{}");
  const { data, file, event, offset } = piece;
  const frame: Record<string, unknown> = {};
  if (data.length > 0) {
    frame.Data = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
  }
  frame.File = file;
  if (event) frame.FileEvent = event;
  frame.Offset = offset;
  return encoder.encode(JSON.stringify(frame));
}

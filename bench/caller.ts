// One keep-alive HTTP/1.1 connection that sends one request at a time and reads no more of the answer than it must. A load
// generator shares the machine with what it measures: node's client costs several times as much as this.
import { connect, type Socket } from "node:net";

export interface Answer {
  status: number;
  body: string;
}

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

const HEAD_END = "\r\n\r\n";

export class Caller {
  #received = "";
  #waiting: Waiting | null = null;

  private constructor(private readonly socket: Socket, private readonly host: string) {
    socket.setNoDelay(true);
    // Latin-1: characters are bytes, so lengths count alike; what is read of answers is ASCII.
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => this.#receive(text));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the server closed the connection")));
  }

  /** Connects to an address such as "http://127.0.0.1:4646". */
  static open(address: string): Promise<Caller> {
    const { hostname, port, host } = new URL(address);
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => {
        socket.off("error", reject);
        resolve(new Caller(socket, host));
      });
      socket.once("error", reject);
    });
  }

  /** Sends a request whose body, if any, is JSON text of ASCII characters. */
  call(method: string, path: string, body = ""): Promise<Answer> {
    const type = body === "" ? "" : "Content-Type: application/json\r\n";
    this.socket.write(
      `${method} ${path} HTTP/1.1\r\nHost: ${this.host}\r\n${type}Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    return new Promise((resolve, reject) => this.#waiting = { resolve, reject });
  }

  close(): void {
    this.#waiting = null;
    this.socket.destroy();
  }

  #receive(text: string): void {
    this.#received += text;
    const end = this.#received.indexOf(HEAD_END);
    if (end < 0) return;
    const head = this.#received.slice(0, end).toLowerCase();
    const start = end + HEAD_END.length;
    const length = /\r\ncontent-length: (\d+)/.exec(head)?.[1];
    if (length !== undefined) {
      const size = Number(length);
      if (this.#received.length >= start + size) {
        this.#answer(head, this.#received.slice(start, start + size));
      }
    } else if (!head.includes("\r\ntransfer-encoding: chunked")) this.#answer(head, "");
    // The last piece of a body in pieces is empty.
    else if (this.#received.endsWith("0\r\n\r\n")) this.#answer(head, this.#received.slice(start));
  }

  #answer(head: string, body: string): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    this.#received = "";
    waiting?.resolve({ status: Number(head.slice(9, 12)), body });
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = null;
  }
}

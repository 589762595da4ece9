// The API for the program around an embedded agent: JSON in, JSON out, without a socket.
import { ApiError } from "../core/errors.ts";

export class LocalApi {
  constructor(private readonly handle: (request: Request) => Promise<Response>) {}

  /** Rejects with ApiError (status, text) unless the answer is a success. */
  get<T = unknown>(path: string): Promise<T> {
    return this.call<T>("GET", path);
  }

  put<T = unknown>(path: string, body?: unknown): Promise<T> {
    return this.call<T>("PUT", path, body);
  }

  delete<T = unknown>(path: string): Promise<T> {
    return this.call<T>("DELETE", path);
  }

  private async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const init: RequestInit = body === undefined
      ? { method }
      : { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
    const response = await this.handle(new Request(`http://agent${path}`, init));
    const text = await response.text();
    if (!response.ok) throw new ApiError(response.status, text);
    return (text === "" ? null : JSON.parse(text)) as T;
  }
}

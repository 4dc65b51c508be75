import type { CallOptions } from "./calls.js";

/**
 * Read all pages of a list, one after the other.
 *
 * @param list - A method that lists, such as `client.listSessions`.
 * @param request - Its request, from whose page on the pages are read.
 *
 * @example
 * for await (const page of pages(client.listSessions, {})) console.log(page.sessions.length);
 */
export async function* pages<Request extends { pageToken?: string }, Page extends { nextPageToken: string }>(
  list: (request: Request, options?: CallOptions) => Promise<Page>,
  request: NoInfer<Request>,
  options?: CallOptions,
): AsyncGenerator<Page> {
  let page = await list(request, options);
  yield page;
  while (page.nextPageToken !== "") {
    page = await list({ ...request, pageToken: page.nextPageToken }, options);
    yield page;
  }
}

// The dashboard in a frame of a product's page, which is on another site.

import { createServer } from 'node:http';

/**
 * A server on `localhost`, which is another site than that of the dashboard. Its pages show the dashboard in a frame. `link` returns
 * the address that the frame opens, for the path of a page.
 */
export async function productPage(origin, link) {
  const server = createServer(async (request, response) => {
    if (request.url === '/favicon.ico') { response.writeHead(204).end(); return; }
    const url = await link(request.url);
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
    response.end(`<!doctype html><html lang="en"><meta name="viewport" content="width=device-width, initial-scale=1"><title>The product</title>
      <body style="margin: 0; font: 16px sans-serif; background: #eef1f6"><h1 style="padding: 0 1rem; font-size: 1.25rem">The product’s settings</h1>
      <main><iframe src="${url}" title="Webhooks" allow="clipboard-write" style="width: 100%; height: 620px; border: 0"></iframe></main></body></html>`);
  });
  await new Promise((resolve) => { server.listen(new URL(origin).port, 'localhost', resolve); });
  return server;
}

/** Messages besides those of the product's own page, and of the browser, which lets no frame of another site take the focus. */
export const unexpected = ({ said }, product) => said
  .filter((text) => !text.startsWith(`left the server: ${product}`) && !text.includes('Blocked autofocusing'));

/** The dashboard's frame as a page, for `audit`. */
export const asPage = (page) => {
  const frame = page.frames()[1];
  return { screenshot: (options) => page.screenshot(options), evaluate: (...what) => frame.evaluate(...what), url: () => frame.url() };
};

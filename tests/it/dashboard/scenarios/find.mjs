// A customer whose endpoint answers 503: finds the delivery, reads its cause, copies its request, and filters by local time; by
// keyboard, and without scripts.

import { strict as assert } from 'node:assert';
import { api, audit, inForce, quiet, receiver, run, signIn, until, visitor, world } from '../lib.mjs';

const { id: tenant, key } = world.standard;
const at = `/dashboard/${tenant}`;
const NAME = 'Slow warehouse loader of the second site, which has a long name';

await run(async (browser) => {
  const endpoint = await receiver();
  Object.assign(endpoint.answer, { status: 503, headers: { 'retry-after': '3600' }, body: '{"error":"maintenance"}' });
  const hook = { name: NAME, url: endpoint.url, event_types: ['lead.*'] };
  const { id } = await api(key, 'POST', '/v1/endpoints', hook);
  for (const bridge of ['b1', 'b2']) {
    const filters = { bridge: [bridge] };
    await api(key, 'POST', '/v1/endpoints', { ...hook, name: `Only ${bridge}`, url: 'http://127.0.0.1:9999/', filters });
  }
  await inForce(key, tenant, id);
  const data = { name: "it's Jane", price: 1, tags: ['a', 'b'], deep: { deeper: { deepest: [1, 2, { x: null }] } } };
  const event = await api(key, 'POST', '/v1/publish', { type: 'lead.created', data, attributes: { bridge: 'b3' } });
  const failed = await until('the failed attempt', async () => {
    const { data: found } = await api(key, 'GET', '/v1/deliveries?status_code=5xx&outcome=http_status');
    return found[0];
  });
  const seen = { endpoint, event, failed };
  await byKeyboard(browser, seen);
  await inUse(browser);
  await localTime(browser);
  await looks(browser, seen);
  await withoutScripts(browser, seen);
});

/** "/" searches, "j" chooses a row, Enter opens it; the page tells the cause, and its request is copied. */
async function byKeyboard(browser, { endpoint, failed }) {
  const who = await visitor(browser, { permissions: ['clipboard-read', 'clipboard-write'] });
  const { page } = who;
  await signIn(who, key);
  // Scripts have run when the page has loaded.
  await page.goto(`${at}/webhooks`);
  const chosen = () => page.evaluate(() => document.activeElement.textContent);
  await page.keyboard.press('j');
  assert.equal(await chosen(), NAME);
  await page.keyboard.press('j');
  assert.match(await chosen(), /^Only b/, 'the line about trouble is no row');
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'find');
  await page.keyboard.type('jk?/');
  assert.equal(await page.locator('#find').inputValue(), 'jk?/', 'keys are text in a field');
  await page.locator('#find').fill('5xx');
  await page.keyboard.press('Enter');
  await page.waitForURL(/deliveries\?status_code=5xx/);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.waitForURL(new RegExp(failed.id));
  assert.match(await page.title(), /^Delivery of lead\.created to Slow warehouse loader/);
  await page.getByText('The endpoint answered 503 Service Unavailable').first().waitFor();
  await page.getByText('because the endpoint asked for this wait (Retry-After)').first().waitFor();
  await page.locator('.json-tree').getByText('"it\'s Jane"').waitFor();
  const copied = async (link) => {
    await page.evaluate(() => navigator.clipboard.writeText(''));
    await link.click();
    return until('the copy', () => page.evaluate(() => navigator.clipboard.readText()));
  };
  const sent = endpoint.got[0];
  assert.equal(await copied(page.locator('#body').getByRole('link', { name: 'Copy Request body' })), sent.body.toString());
  await page.locator('#body').getByRole('link', { name: 'Copy Request body' }).waitFor();
  const command = await copied(page.locator('.heading').getByRole('link', { name: 'Copy as cURL' }));
  assert.ok(command.includes(`--header 'webhook-signature: ${sent.headers['webhook-signature']}'`), command);
  assert.ok(command.includes(String.raw`it'\''s Jane`), command);
  await page.keyboard.press('?');
  await page.getByRole('heading', { name: 'Keys' }).waitFor();
  await audit(who, 'keys');
  await page.getByRole('checkbox', { name: 'Keys of one letter' }).uncheck();
  await page.keyboard.press('Escape');
  await page.keyboard.press('/');
  assert.notEqual(await page.evaluate(() => document.activeElement.id), 'find', 'the keys are off');
  quiet(who);
}

/** A list with the focus is not replaced by a refresh, and the page says so. */
async function inUse(browser) {
  const who = await visitor(browser);
  const { page } = who;
  await signIn(who, key);
  await page.goto(`${at}/deliveries`);
  await page.locator('#deliveries th a').first().focus();
  await api(key, 'POST', '/v1/publish', { type: 'lead.updated', data: {}, attributes: { bridge: 'b3' } });
  await until('the delivery', async () => (await api(key, 'GET', '/v1/deliveries?type=lead.updated')).data[0]);
  await page.getByText('Refreshing waits while you use this part of the page.').waitFor();
  const row = page.getByRole('link', { name: 'lead.updated' }).first();
  assert.equal(await row.count(), 0);
  await page.evaluate(() => document.activeElement.blur());
  await row.waitFor();
  await page.getByText('Refreshing waits').waitFor({ state: 'detached' });
  quiet(who);
}

/** The time fields take the visitor's time, here UTC+1, and the address has UTC. */
async function localTime(browser) {
  const who = await visitor(browser);
  const { page } = who;
  await signIn(who, key);
  await page.goto(`${at}/deliveries`);
  await page.locator('summary', { hasText: 'More filters' }).click();
  await page.getByLabel('From (Europe/Berlin)').fill('2026-01-02T03:04');
  await page.getByRole('button', { name: 'Filter' }).click();
  await page.waitForURL(/from=2026-01-02T02%3A04/);
  assert.equal(await page.getByLabel('From (Europe/Berlin)').inputValue(), '2026-01-02T03:04');
  await page.getByRole('link', { name: 'Last hour' }).click();
  await page.waitForURL((url) => url.search === '?range=hour');
  await page.locator('#deliveries tbody tr').first().waitFor();
  quiet(who);
}

/** Every page of the way, at two widths, light and dark; the rows of lists have one line. */
async function looks(browser, { event, failed }) {
  for (const [width, colorScheme] of [[1280, 'light'], [1280, 'dark'], [390, 'light'], [390, 'dark']]) {
    const who = await visitor(browser, { colorScheme, viewport: { width, height: 900 } });
    const { page } = who;
    await signIn(who, key);
    const paths = {
      deliveries: '/deliveries',
      'deliveries, filtered': '/deliveries?status_code=5xx&order=oldest&range=day',
      events: '/events',
      delivery: `/deliveries/${failed.id}`,
      'delivery, raw': `/deliveries/${failed.id}?view=raw`,
      event: `/events/${event.id}`,
      'nothing found': '/find?q=nothing+like+it',
      'several found': '/find?q=127.0.0.1',
    };
    for (const [name, path] of Object.entries(paths)) {
      await page.goto(at + path);
      if (name === 'delivery') await page.locator('.timeline summary', { hasText: 'Attempt 1' }).click();
      await audit(who, `understand ${name}`);
      const rows = await page.locator('.dense tbody tr').evaluateAll((all) => all.map((row) => row.getBoundingClientRect().height));
      if (width === 1280) assert.ok(rows.every((height) => height < 44), `${name}: rows of one line, got ${rows}`);
    }
    await page.goto(`${at}/events/${event.id}`);
    await page.getByText('1 fired, 2 filtered out.').waitFor();
    quiet(who);
    await who.context.close();
  }
}

async function withoutScripts(browser, { failed }) {
  const who = await visitor(browser, { javaScriptEnabled: false });
  const { page } = who;
  await signIn(who, key);
  await page.locator('#find').fill(failed.id);
  await page.locator('#find').press('Enter');
  await page.getByRole('heading', { name: /^Delivery of lead\.created/ }).waitFor();
  await page.getByRole('link', { name: 'Raw' }).click();
  await page.getByText('{"type":"lead.created"').waitFor();
  // A text has no icon, so a browser that opens it logs a 404 for one.
  const href = await page.locator('.heading').getByRole('link', { name: 'Show as cURL' }).getAttribute('href');
  assert.match(await (await page.request.get(href)).text(), /^curl --globoff --request POST/);
  await page.goto(`${at}/deliveries`);
  await page.locator('summary', { hasText: 'More filters' }).click();
  await page.getByLabel('From (UTC)').fill('2026-01-02T03:04');
  await page.getByRole('button', { name: 'Filter' }).click();
  assert.match(page.url(), /from=2026-01-02T03%3A04/);
  quiet(who);
}

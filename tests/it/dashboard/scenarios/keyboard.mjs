// A customer without a mouse: sign-in, the first webhook, a test, an outage, its cause, and the recovery. Every element that gets the
// focus shows it, and no action within a page loses it.

import { strict as assert } from 'node:assert';
import { api, inForce, quiet, receiver, run, until, visitor, world } from '../lib.mjs';

const { id: tenant, key } = world.standard;
/// Maximum number of times that Tab is pressed on the way to an element.
const TABS_MAX = 80;

await run(async (browser) => {
  const who = await visitor(browser, { permissions: ['clipboard-read', 'clipboard-write'] });
  const endpoint = await receiver();
  const keys = keyboard(who.page);
  await signIn(who.page, keys);
  await firstWebhook(who, keys, endpoint);
  await help(who.page, keys);
  await outage(who.page, keys, endpoint);
  await several(who.page, keys);
  quiet(who);
});

/** What the keyboard does on a page. */
function keyboard(page) {
  /** The element with the focus: whether its outline can be seen, and whether it is in the window. `null` for the page itself. */
  const focused = () => page.evaluate(() => {
    const element = document.activeElement;
    if (!element || element === document.body || element === document.documentElement) return null;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    const { top, bottom, left, right, width, height } = element.getBoundingClientRect();
    const inside = bottom > 0 && right > 0 && top < innerHeight && left < innerWidth;
    return {
      text: element.outerHTML.slice(0, 160), seen: inside && width > 1 && height > 1,
      outlined: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2, main: element.id === 'main',
    };
  });
  const shown = async () => {
    const at = await focused();
    assert.ok(at, `the focus was lost on ${page.url()}`);
    assert.ok(at.main || (at.seen && at.outlined), `the focus is not visible on ${page.url()}: ${JSON.stringify(at)}`);
  };
  const has = (target) => target.evaluate((element) => element === document.activeElement);
  /** Presses Tab until the element has the focus. Behind the last element of a page is the page itself. */
  const to = async (target, step = 'Tab') => {
    await target.waitFor();
    let ends = 0;
    for (let tabs = 0; tabs < TABS_MAX && !(await has(target)); tabs += 1) {
      await page.keyboard.press(step);
      if (await focused()) await shown();
      else ends += 1;
      assert.ok(ends < 2, `Tab ends nowhere on ${page.url()}`);
    }
    assert.ok(await has(target), `Tab does not reach ${target} on ${page.url()}`);
  };
  /** Moves to an element and presses a key that acts within the page, so that the focus must stay visible. */
  const act = async (target, pressed, step = 'Tab') => {
    await to(target, step);
    await page.keyboard.press(pressed);
    await shown();
  };
  /** Moves to a link or a button, and presses Enter. A page opens. */
  const open = async (target, step = 'Tab') => {
    await to(target, step);
    await page.keyboard.press('Enter');
  };
  const type = async (target, text) => {
    await to(target);
    await page.keyboard.type(text);
  };
  return { shown, to, act, open, type, has, press: (pressed) => page.keyboard.press(pressed) };
}

async function signIn(page, keys) {
  await page.goto('/dashboard');
  await keys.type(page.getByLabel('API key'), key);
  await keys.press('Enter');
  await page.getByText('No webhooks yet').waitFor();
  // The first stop is the link that skips the navigation.
  await keys.press('Tab');
  assert.ok(await keys.has(page.getByRole('link', { name: 'Skip to the content' })));
  await keys.shown();
  await keys.press('Enter');
  await keys.press('Tab');
  assert.ok(await keys.has(page.getByRole('link', { name: 'Add webhook' })), 'the navigation is skipped');
}

async function firstWebhook(who, keys, endpoint) {
  const { page } = who;
  await keys.open(page.getByRole('link', { name: 'Add the first webhook' }));
  await keys.type(page.getByLabel('Name', { exact: true }), 'Orders');
  await keys.type(page.getByLabel('Postback URL'), 'ftp://example.com/');
  await keys.open(page.getByRole('button', { name: 'Create webhook' }));
  // The summary of the errors has the focus, and its links lead to the fields.
  await page.getByText('Fix the following:').waitFor();
  await keys.shown();
  await keys.press('Tab');
  await keys.press('Enter');
  await until('the focus on the field', () => keys.has(page.getByLabel('Postback URL')));
  // The browser logs the 422 on its console.
  assert.equal(who.said.splice(0).length, 1);
  await keys.press('Control+a');
  await page.keyboard.type(endpoint.url);
  await keys.act(page.getByLabel('All events'), 'Space');
  assert.ok(await page.getByLabel('All events').isChecked());
  await keys.type(page.getByLabel('Retry after'), '1h');
  await keys.open(page.getByRole('button', { name: 'Create webhook' }));
  await page.getByRole('heading', { name: 'Webhook created' }).waitFor();
  await keys.act(page.locator('.secret').getByRole('button', { name: 'Copy' }), 'Enter');
  assert.match(await until('the copy', () => page.evaluate(() => navigator.clipboard.readText())), /^whsec_/);
  await keys.open(page.getByRole('link', { name: 'Send a test' }));
  await keys.open(page.getByRole('button', { name: 'Send test' }));
  await page.getByText('The endpoint answered 200 OK').waitFor();
  await until('the focus on the result', () => keys.has(page.locator('#result')));
}

/** The list of keys opens with "?", and gives the focus back. */
async function help(page, keys) {
  await keys.open(page.getByRole('link', { name: 'Deliveries', exact: true }));
  await page.locator('#deliveries tbody tr').first().waitFor();
  await keys.to(page.getByRole('link', { name: 'Events', exact: true }));
  await keys.press('?');
  await page.getByRole('heading', { name: 'Keys' }).waitFor();
  await keys.shown();
  await keys.press('Escape');
  assert.ok(await keys.has(page.getByRole('link', { name: 'Events', exact: true })), 'the focus returns');
  await keys.act(page.getByRole('button', { name: 'Keys ?' }), 'Enter');
  await keys.act(page.getByRole('button', { name: 'Close' }), 'Enter');
  assert.ok(await keys.has(page.getByRole('button', { name: 'Keys ?' })));
}

async function outage(page, keys, endpoint) {
  const [{ id }] = (await api(key, 'GET', '/v1/endpoints')).data;
  await inForce(key, tenant, id);
  endpoint.answer.status = 503;
  for (let n = 0; n < 6; n += 1) await api(key, 'POST', '/v1/publish', { type: 'order.paid', data: { n } });
  await until('six failures', async () => (await api(key, 'GET', `/v1/endpoints/${id}`)).health.failures_in_a_row === 6);

  // "/" searches; "j" and "k" choose a row; Enter opens it.
  await keys.press('/');
  assert.ok(await keys.has(page.locator('#find')));
  await keys.shown();
  await page.keyboard.type('5xx');
  await keys.press('Enter');
  await page.waitForURL(/status_code=5xx/);
  await page.locator('#deliveries tbody tr').nth(5).waitFor();
  const row = (n) => page.locator('#deliveries tbody tr').nth(n).locator('th a');
  for (const [pressed, at] of [['j', 0], ['j', 1], ['k', 0]]) {
    await keys.press(pressed);
    assert.ok(await keys.has(row(at)), `${pressed} leads to row ${at}`);
    await keys.shown();
  }
  await keys.press('Enter');
  await page.getByText('The endpoint answered 503 Service Unavailable').first().waitFor();
  await keys.act(page.locator('.timeline summary', { hasText: 'Attempt 1' }), 'Enter');
  await page.locator('summary', { hasText: 'Request headers' }).waitFor();
  endpoint.answer.status = 200;
  const before = endpoint.got.length;
  await page.reload();
  await keys.open(page.getByRole('note', { name: 'Problem' }).getByRole('link', { name: 'Recover' }));
  await keys.open(page.getByRole('button', { name: 'Deliver 6 events' }));
  await page.getByText('The recovery has started').waitFor();
  await until('every event', () => new Set(endpoint.got.slice(before).map(({ headers }) => headers['webhook-id'])).size === 6);
}

/** Choosing all rows of a list, and sending them again. The focus stays while the list would be refreshed. */
async function several(page, keys) {
  await keys.open(page.getByRole('link', { name: 'Deliveries', exact: true }));
  await page.locator('#deliveries tbody tr').nth(6).waitFor();
  await keys.act(page.getByLabel('All on this page'), 'Space');
  await page.getByText(/^\d+ selected$/).waitFor();
  await keys.act(page.getByRole('button', { name: 'Pause refreshing' }), 'Enter');
  await keys.act(page.getByRole('button', { name: 'Resume refreshing' }), 'Space');
  await keys.open(page.getByRole('button', { name: 'Retry selected' }), 'Shift+Tab');
  await page.getByRole('heading', { name: /^Retry \d+ deliveries\?$/ }).waitFor();
  await keys.open(page.getByRole('link', { name: 'Back' }));
  await page.getByRole('heading', { name: 'Deliveries' }).waitFor();
}

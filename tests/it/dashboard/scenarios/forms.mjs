// Forms: double clicks, reload, back, errors, and a session that ends while a form is filled in.

import { strict as assert } from 'node:assert';
import { api, audit, operatorKey, quiet, run, signIn, until, visitor, world } from '../lib.mjs';

const { id: tenant, key } = world.standard;
const at = `/dashboard/${tenant}`;

/** Waits until the element with this id has the focus. */
const focused = (page, id) => until(`the focus on ${id}`, () => page.evaluate((wanted) => document.activeElement.id === wanted, id));

/** Waits until the browser has logged a refused form on its console, and forgets the message. */
async function refusalLogged(who) {
  await until('the refusal on the console', () => who.said.length > 0);
  assert.equal(who.said.splice(0).length, 1);
}

await run(async (browser) => {
  await api(key, 'POST', '/v1/endpoints', { name: 'CRM', url: 'http://127.0.0.1:9999/', event_types: ['*'] });
  await wizard(browser);
  await ended(browser);
  await keys(browser);
});

/** The replay form: presets keep the input, and the preview or an error has the focus. */
async function wizard(browser) {
  const who = await visitor(browser);
  const { page } = who;
  await signIn(who, key);
  await page.goto(`${at}/replays/new`);
  await page.getByLabel('Event types').fill('email.*');
  await page.getByRole('button', { name: 'Last hour' }).click();
  await page.waitForURL(/from=/);
  assert.equal(await page.getByLabel('Event types').inputValue(), 'email.*');
  await page.getByRole('button', { name: 'Preview', exact: true }).click();
  await page.getByRole('heading', { name: 'This replay creates 0 deliveries' }).waitFor();
  await focused(page, 'counted');
  assert.ok(!page.url().includes('csrf'), 'the proof of a form stays out of addresses');
  await page.goto(`${at}/replays/new`);
  await page.getByLabel('Event types').press('Enter');
  await page.getByText('Choose at least a date range').waitFor();
  await focused(page, 'problem');
  assert.match(await page.title(), /^Error: /);
  await refusalLogged(who);
  await audit(who, 'new replay, refused');
  quiet(who);
}

/** The visitor signs out in another tab. */
async function ended(browser) {
  const who = await visitor(browser);
  const { page, context } = who;
  const signOut = async () => {
    const other = await context.newPage();
    await other.goto(`${at}/webhooks`);
    await other.getByRole('button', { name: 'Sign out' }).click();
    await other.getByRole('heading', { name: 'Sign in' }).waitFor();
    await other.close();
  };
  await signIn(who, key);
  await page.goto(`${at}/webhooks/new`);
  await page.getByLabel('Name', { exact: true }).fill('typed name');
  await page.getByLabel('Postback URL').fill('http://127.0.0.1:9999/x');
  await signOut();
  await page.getByRole('button', { name: 'Create webhook' }).click();
  await page.getByText('Your session has ended').waitFor();
  await refusalLogged(who);
  await audit(who, 'sign-in, with a form');
  await page.getByLabel('API key').fill(key);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('Your session had ended').waitFor();
  assert.equal(await page.getByLabel('Name', { exact: true }).inputValue(), 'typed name');
  await page.goto(`${at}/webhooks`);
  await signOut();
  await page.getByText('Your session has ended').waitFor();
  await page.getByRole('link', { name: 'Sign in again' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  quiet(who);
}

/**
 * Clicks a button of a form twice. The second click comes when the server has processed the first one, and before the browser has
 * the answer, however fast the machine is.
 */
async function doubleClick(page, button) {
  const forms = [];
  const processed = new Promise((resolve) => {
    page.route(/\/dashboard\//, async (route) => {
      if (route.request().method() !== 'POST') return route.continue();
      forms.push(route.request().postData());
      if (forms.length > 1) return route.continue();
      // Sent from here, the form cannot be cancelled by the second click. The browser never gets the answer.
      const answer = await route.fetch({ maxRedirects: 0 });
      return resolve(answer.status());
    });
  });
  await button.scrollIntoViewIfNeeded();
  const { x, y, width, height } = await button.boundingBox();
  // The mouse does not wait for the navigation that the first click began; a locator would.
  await page.mouse.click(x + width / 2, y + height / 2);
  assert.equal(await processed, 303);
  await page.mouse.click(x + width / 2, y + height / 2);
  await until('the second form', () => forms.length === 2);
  assert.equal(forms[0], forms[1]);
}

/** A double click creates one key; deleting it asks first. */
async function keys(browser) {
  const who = await visitor(browser);
  const { page } = who;
  const named = async () => (await api(operatorKey, 'GET', `/v1/tenants/${tenant}/keys`)).data.filter((one) => one.name === 'double');
  await signIn(who, operatorKey);
  await page.goto(`/dashboard/operator/tenants/${tenant}`);
  await page.getByLabel('Name of a new key').fill('double');
  await doubleClick(page, page.getByRole('button', { name: 'Create key' }));
  await page.locator('#key').waitFor();
  const text = await page.locator('#key').textContent();
  await page.reload();
  assert.equal(await page.locator('#key').textContent(), text);
  assert.equal((await named()).length, 1);
  await page.getByRole('link', { name: 'Delete key double' }).click();
  await page.getByRole('heading', { name: 'Delete the key double?' }).waitFor();
  await audit(who, 'delete a key');
  assert.equal((await named()).length, 1);
  await page.getByRole('button', { name: 'Delete key' }).click();
  await page.getByText('The key was deleted').waitFor();
  assert.equal((await named()).length, 0);
  quiet(who);
}

// The tasks of a customer of each product: sign in, create a webhook with the product's types and filters, verify a delivery,
// find it in the history, send it again, and replay a date range.

import { strict as assert } from 'node:assert';
import { api, audit, inForce, quiet, receiver, run, signIn, until, visitor, world } from '../lib.mjs';
import { PRODUCTS } from '../products.mjs';

await run(async (browser) => {
  await Promise.all(Object.entries(PRODUCTS).map(async ([name, product]) => {
    const startedAt = Date.now();
    try {
      await customer(browser, product, world[name]);
    } catch (error) {
      throw new Error(name, { cause: error });
    }
    console.log(`${name} in ${((Date.now() - startedAt) / 1000).toFixed(1)} s`);
  }));
});

async function customer(browser, product, tenant) {
  const who = await visitor(browser, product.screen);
  const { page } = who;
  const endpoint = await receiver();
  const to = (path) => page.goto(`/dashboard/${tenant.id}${path}`);

  await page.goto('/dashboard');
  await audit(who, 'sign-in');
  await page.getByLabel('API key').fill('prk_nobody');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('There is no such key').waitFor();
  // The browser logs the 401 on its console.
  assert.equal(who.said.splice(0).length, 1);
  await audit(who, 'sign-in, refused');
  await signIn(who, tenant.key);
  await page.getByText('No webhooks yet').waitFor();
  await audit(who, 'webhooks, empty');

  // Create one: first with an error, which is shown at its field.
  await page.getByRole('link', { name: 'Add the first webhook' }).click();
  await audit(who, 'new webhook');
  await page.getByLabel('Name', { exact: true }).fill('CRM integration');
  await page.getByLabel('Postback URL').fill('ftp://example.com/');
  for (const type of product.types) await page.locator(`input[name=event_types][value="${type}"]`).check();
  if (product.filter) {
    await page.locator('summary', { hasText: product.filter[0] }).click();
    await page.getByRole('group', { name: 'Filters' }).locator('details[open]').getByLabel('Other values').fill(product.filter[1]);
  }
  await page.getByRole('button', { name: 'Create webhook' }).click();
  const url = page.getByLabel('Postback URL');
  assert.equal(await url.getAttribute('aria-invalid'), 'true');
  assert.equal(who.said.splice(0).length, 1);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'problem', 'the summary has the focus');
  assert.match(await page.title(), /^Error: /);
  await audit(who, 'new webhook, refused');
  await url.fill(endpoint.url);
  await page.getByRole('button', { name: 'Create webhook' }).click();
  await page.getByRole('heading', { name: 'Webhook created' }).waitFor();
  const secret = await page.locator('#secret').textContent();
  await audit(who, 'webhook created');
  await page.reload();
  assert.equal(await page.locator('#secret').textContent(), secret, 'a reload shows the same secret');
  assert.equal((await api(tenant.key, 'GET', '/v1/endpoints')).usage, 1, 'and makes no second webhook');

  // The page remembers the visitor's language.
  await page.locator('summary').getByText('PHP', { exact: true }).click();
  await page.reload();
  await page.locator('details[data-language="PHP"][open]').waitFor();
  assert.equal(await page.locator('details[data-language][open]').count(), 1, 'and shows no other');

  // A test, at once.
  await page.getByRole('link', { name: 'Send a test' }).click();
  await audit(who, 'test');
  await page.getByLabel('Event type').selectOption(product.types[0]);
  await page.locator('#sample strong').getByText(product.types[0], { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Send test' }).click();
  await page.getByText('The endpoint answered 200 OK').waitFor();
  await page.getByRole('heading', { name: 'Request body' }).waitFor();
  await audit(who, 'test, done');
  assert.ok(product.genuine(endpoint.got[0], secret), 'the test verifies');
  await page.goBack();
  await page.goBack();
  assert.equal(await page.locator('#secret').textContent(), secret, 'back shows the secret');
  assert.equal(endpoint.got.length, 1, 'and sends no second test');

  // An event arrives and appears in the history without a reload.
  await to('/webhooks');
  await page.getByRole('link', { name: 'CRM integration', exact: true }).click();
  await page.getByRole('heading', { name: 'CRM integration' }).waitFor();
  const id = page.url().split('/').pop();
  await inForce(tenant.key, tenant.id, id);
  await to(`/deliveries?endpoint_id=${id}`);
  await page.getByRole('row').filter({ hasText: 'test' }).first().waitFor();
  const published = await api(tenant.key, 'POST', '/v1/publish', product.event);
  await until('the delivery', () => endpoint.got.length === 2);
  assert.ok(product.genuine(endpoint.got[1], secret), 'the delivery verifies');
  const row = page.locator('#deliveries tbody tr').filter({ hasText: product.event.type }).filter({ hasNotText: 'test' });
  await row.getByText('delivered', { exact: true }).waitFor();
  await audit(who, 'deliveries');

  // The delivery's page, and a second delivery from there.
  await row.getByRole('link', { name: product.event.type }).click();
  await page.getByText('The endpoint answered 200 OK').first().waitFor();
  await page.locator('.timeline summary', { hasText: 'Attempt 1' }).click();
  await page.locator('summary', { hasText: 'Request headers' }).click();
  await page.getByText('webhook-id').waitFor();
  await page.locator('summary', { hasText: 'Response' }).click();
  await page.locator('.timeline').getByText('thanks').waitFor();
  await audit(who, 'delivery');
  await page.getByRole('button', { name: 'Send again' }).click();
  await until('the retry', () => endpoint.got.length === 3);
  assert.equal(endpoint.got[2].headers['webhook-id'], endpoint.got[1].headers['webhook-id']);

  // Why it matched.
  await to(`/events/${published.id}`);
  await page.getByText('1 fired').waitFor();
  await page.locator('summary', { hasText: 'Fired (1)' }).click();
  await page.locator('.why', { hasText: 'CRM integration' }).getByText('matched', { exact: true }).waitFor();
  await page.locator('.why summary').first().click();
  await audit(who, 'event');
  await to('/events');
  await audit(who, 'events');

  // Replay a date range: preview, start, arrival.
  await to('/replays/new');
  await audit(who, 'new replay');
  assert.equal(await page.getByRole('button', { name: 'Replay now' }).count(), 0, 'nothing can be started before the preview');
  await page.getByLabel('Event types').fill(product.event.type);
  await page.getByRole('button', { name: 'Last hour' }).click();
  assert.equal(await page.getByLabel('Event types').inputValue(), product.event.type, 'a preset keeps the form');
  await page.getByRole('button', { name: 'Preview', exact: true }).click();
  await page.getByRole('heading', { name: 'This replay creates 1 delivery' }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'counted', 'the count is in view');
  await audit(who, 'new replay, counted');
  await page.getByRole('button', { name: 'Replay now' }).click();
  await page.getByText('The replay has started').waitFor();
  await until('the replayed delivery', () => endpoint.got.length === 4);
  assert.ok(product.genuine(endpoint.got[3], secret), 'the replay verifies');
  await page.locator('#replay').getByText('finished').waitFor();
  await audit(who, 'replay');
  await to('/replays');
  await audit(who, 'replays');

  // Health, switching off, editing, rotating, deleting.
  await until('counts', async () => (await api(tenant.key, 'GET', '/v1/stats')).total.attempts >= 3);
  await to('/health');
  await page.getByRole('img', { name: /^Attempts/ }).waitFor();
  await audit(who, 'health');
  await to('/webhooks');
  const toggle = page.getByRole('switch', { name: 'Active: CRM integration' });
  assert.equal(await toggle.getAttribute('aria-checked'), 'true');
  await toggle.click();
  await page.getByText('The webhook is inactive').waitFor();
  assert.equal(await toggle.getAttribute('aria-checked'), 'false');
  await audit(who, 'webhooks');
  await page.getByRole('link', { name: 'Edit CRM integration' }).click();
  await audit(who, 'edit');
  await page.getByLabel('Name', { exact: true }).fill('CRM, renamed');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('heading', { name: 'CRM, renamed' }).waitFor();
  await audit(who, 'webhook');
  await page.getByRole('link', { name: 'Rotate secret' }).click();
  await audit(who, 'rotate');
  await page.getByRole('button', { name: 'Create the new secret' }).click();
  const rotated = await page.locator('#secret').textContent();
  assert.notEqual(rotated, secret);
  await page.reload();
  assert.equal(await page.locator('#secret').textContent(), rotated, 'a reload does not rotate again');
  await to(`/webhooks/${id}/delete`);
  await audit(who, 'delete');
  await page.getByRole('button', { name: 'Delete webhook' }).click();
  await page.getByText('No webhooks yet').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await to('/webhooks');
  assert.ok(page.url().includes('/dashboard/sign-in'), 'signed out');
  quiet(who);
  await who.context.close();
}

// The dashboard in a frame of the product's own page, on another site, and by a link in a tab. The product's backend asks for links.

import { readFile } from 'node:fs/promises';
import { strict as assert } from 'node:assert';
import { api, audit, inForce, operatorKey, quiet, receiver, run, signIn, until, visitor, world } from '../lib.mjs';
import { asPage, productPage, unexpected } from '../frame.mjs';

const { tenant: { standard: { id: tenant, key } }, product, stranger } = world;
const links = `/v1/tenants/${tenant}/portal-links`;

await run(async (browser) => {
  // Each view of the page has a link of its own.
  const link = async () => (await api(operatorKey, 'POST', links, { embed: true, user: 'jane@example.com' })).url;
  const server = await productPage(product, link);
  const other = await productPage(stranger, link);
  try {
    await framed(browser);
    await inATab(browser);
    await withoutScripts(browser);
  } finally {
    server.close();
    other.close();
  }
});

/** A customer of the product creates a webhook and sends a test in the product's page. */
async function framed(browser) {
  const who = await visitor(browser, { viewport: { width: 1100, height: 760 }, permissions: ['clipboard-read', 'clipboard-write'] });
  const { page } = who;
  const endpoint = await receiver();
  // An operator signed in to the dashboard in the same browser keeps their own session.
  const operator = { ...who, page: await who.context.newPage() };
  await signIn(operator, operatorKey);

  // A browser does not draw a tab in the background, and clicks do not reach a frame that was not drawn.
  await page.bringToFront();
  await page.goto(product);
  const frame = page.frameLocator('iframe');
  await frame.getByText('No webhooks yet').waitFor();
  assert.equal(await frame.getByRole('button', { name: 'Sign out' }).count(), 0);
  assert.equal(await frame.getByText('Postrider', { exact: true }).count(), 0);
  assert.equal(await frame.getByText('Tenants').count(), 0, 'the operator’s pages are not there');
  await audit({ page: asPage(page), look: who.look }, 'embedded, empty');
  await frame.getByRole('link', { name: 'Add the first webhook' }).click();
  await frame.getByLabel('Name', { exact: true }).fill('CRM integration');
  await frame.getByLabel('Postback URL').fill(endpoint.url);
  await frame.getByLabel('All events').check();
  await audit({ page: asPage(page), look: who.look }, 'embedded, new webhook');
  await frame.getByRole('button', { name: 'Create webhook' }).click();
  const secret = await frame.locator('#secret').textContent();
  assert.match(secret, /^whsec_/);
  const copied = async (button) => {
    await page.evaluate(() => navigator.clipboard.writeText(''));
    await button.click();
    return until('the copy', () => page.evaluate(() => navigator.clipboard.readText()));
  };
  assert.equal(await copied(frame.locator('.secret').getByRole('button', { name: 'Copy' })), secret);
  await audit({ page: asPage(page), look: who.look }, 'embedded, created');
  await frame.getByRole('link', { name: 'Send a test' }).click();
  await frame.getByRole('button', { name: 'Send test' }).click();
  await frame.getByText('The endpoint answered 200 OK').waitFor();
  assert.equal(endpoint.got.length, 1);
  await audit({ page: asPage(page), look: who.look }, 'embedded, tested');

  // Refreshes use the frame's session, too.
  const [{ id }] = (await api(key, 'GET', '/v1/endpoints')).data;
  await inForce(key, tenant, id);
  await frame.getByRole('link', { name: 'Deliveries' }).click();
  await frame.getByRole('row').filter({ hasText: 'test' }).first().waitFor();
  await api(key, 'POST', '/v1/publish', { type: 'user.created', data: {} });
  const row = frame.getByRole('row').filter({ hasText: 'user.created' }).first();
  await row.waitFor();
  await audit({ page: asPage(page), look: who.look }, 'embedded, deliveries');

  // Copies and downloads use the frame's session, too.
  await row.getByRole('link', { name: 'user.created' }).click();
  await frame.getByRole('heading', { name: /^Delivery of user\.created/ }).waitFor();
  const body = frame.locator('#body').getByRole('link', { name: 'Copy Request body' });
  assert.equal(await copied(body), endpoint.got.at(-1).body.toString());
  await frame.getByRole('link', { name: 'Event types' }).click();
  const [download] = await Promise.all([page.waitForEvent('download'), frame.getByRole('link', { name: 'OpenAPI 3.1' }).click()]);
  assert.equal(download.suggestedFilename(), 'webhooks.openapi.json');
  assert.equal(JSON.parse(await readFile(await download.path(), 'utf8')).openapi, '3.1.0');

  // A second page of the product: the forms of the first one still work.
  await frame.getByRole('link', { name: 'Webhooks', exact: true }).click();
  const toggle = frame.getByRole('switch', { name: 'Active: CRM integration' });
  await toggle.waitFor();
  const second = await who.context.newPage();
  await second.goto(product);
  await second.frameLocator('iframe').getByRole('link', { name: 'CRM integration', exact: true }).waitFor();
  await second.close();
  await page.bringToFront();
  await toggle.click();
  await frame.getByText('The webhook is inactive').waitFor();
  const log = await api(key, 'GET', '/v1/audit-log?action=endpoint.created');
  assert.equal(log.data[0].actor.name, 'jane@example.com');

  // The operator ends the sessions; the product's page opens another one.
  await api(operatorKey, 'DELETE', `/v1/tenants/${tenant}/portal-sessions`);
  await frame.getByRole('link', { name: 'Health' }).click();
  await frame.getByRole('heading', { name: 'Your session has ended' }).waitFor();
  assert.equal(await frame.getByLabel('API key').count(), 0);
  await audit({ page: asPage(page), look: who.look }, 'embedded, ended');
  const refused = unexpected(who, product).filter((text) => !text.includes('401 (Unauthorized)'));
  assert.deepEqual(refused, []);
  await page.reload();
  await frame.getByRole('link', { name: 'CRM integration', exact: true }).waitFor();
  await operator.page.reload();
  await operator.page.getByRole('heading', { name: 'Tenants' }).waitFor();

  // A site that the operator does not allow cannot show it.
  const before = who.said.length;
  await page.goto(stranger);
  await until('the refusal', () => who.said.slice(before).some((text) => text.includes('frame-ancestors')));
  assert.equal(await frame.getByText('CRM integration').count(), 0);
  await who.context.close();
}

/** A link that the customer opens from the product or a mail. */
async function inATab(browser) {
  const who = await visitor(browser);
  const { page } = who;
  const { url } = await api(key, 'POST', links, { landing: '/deliveries', scopes: ['read'] });
  // A program that looks at the link does not open it.
  assert.equal((await fetch(url)).status, 200);
  await page.goto('/dashboard/sign-in');
  await page.goto(url);
  await page.getByRole('heading', { name: 'Deliveries' }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
  await page.goBack();
  await page.getByRole('heading', { name: 'Sign in' }).or(page.getByRole('heading', { name: 'Webhooks' })).first().waitFor();
  await page.goto(url);
  await page.getByRole('heading', { name: 'Deliveries' }).waitFor();
  quiet(who);
  const later = await visitor(browser);
  await later.page.goto(url);
  await later.page.getByRole('heading', { name: 'This link no longer works' }).waitFor();
  await audit(later, 'a link that was used');
}

async function withoutScripts(browser) {
  const who = await visitor(browser, { javaScriptEnabled: false });
  const { url } = await api(key, 'POST', links, {});
  await who.page.goto(url);
  await who.page.getByRole('button', { name: 'Continue' }).click();
  await who.page.getByRole('link', { name: 'CRM integration', exact: true }).waitFor();
  quiet(who);
}

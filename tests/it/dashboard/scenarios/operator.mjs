// The operator's pages, and a visitor without scripts.

import { strict as assert } from 'node:assert';
import { api, audit, operatorKey, quiet, receiver, run, signIn, until, visitor, world } from '../lib.mjs';

await run(async (browser) => {
  await operator(browser);
  await withoutScripts(browser);
});

async function operator(browser) {
  const who = await visitor(browser, { viewport: { width: 390, height: 844 } });
  const { page } = who;
  await signIn(who, operatorKey);
  await audit(who, 'tenants');
  await page.getByLabel('Name', { exact: true }).fill('Acme');
  await page.getByLabel('Profile').selectOption('mumara');
  await page.getByRole('button', { name: 'Create tenant' }).click();
  await page.getByText('The tenant was created').waitFor();
  await audit(who, 'tenant');
  await page.getByLabel('Webhooks', { exact: true }).fill('many');
  await page.getByRole('button', { name: 'Save' }).click();
  assert.equal(await page.getByLabel('Webhooks', { exact: true }).getAttribute('aria-invalid'), 'true');
  assert.equal(who.said.splice(0).length, 1);
  await page.getByLabel('Webhooks', { exact: true }).fill('1');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved.').waitFor();
  await page.getByLabel('Name of a new key').fill('for people');
  await page.getByRole('button', { name: 'Create key' }).click();
  const key = await page.locator('#key').textContent();
  await audit(who, 'key made');

  // The customer uses up the limit of one webhook with a Pushover webhook.
  const customer = await visitor(browser, { colorScheme: 'dark' });
  await signIn(customer, key);
  await customer.page.getByRole('link', { name: 'Add the first webhook' }).click();
  await customer.page.getByRole('link', { name: 'Pushover' }).click();
  await customer.page.getByLabel('Name', { exact: true }).fill('Bounces on my phone');
  await customer.page.getByLabel('User key').fill('u'.repeat(30));
  await customer.page.getByLabel('API token').fill('a'.repeat(30));
  await customer.page.getByLabel('Sound').selectOption('Tug Boat');
  await customer.page.getByLabel('Search').fill('bounc');
  await customer.page.getByText('1 of 10 match').waitFor();
  await audit(customer, 'new webhook on Pushover');
  await customer.page.locator('input[value="Bounced"]').check();
  await customer.page.getByRole('button', { name: 'Create webhook' }).click();
  await customer.page.getByRole('heading', { name: 'Webhook created' }).waitFor();
  await customer.page.getByRole('link', { name: 'Webhooks', exact: true }).click();
  await customer.page.getByText('1 of 1 webhooks used').waitFor();
  await customer.page.getByText('so no more can be added').waitFor();
  await audit(customer, 'webhooks at the limit');
  quiet(customer);

  await page.goto('/dashboard/operator/dead-letters');
  const letter = page.getByRole('checkbox', { name: 'Select dead letter' });
  await until('the dead letter', async () => { await page.reload(); return (await letter.count()) > 0; });
  await audit(who, 'dead letters');
  await page.getByRole('row').getByRole('link').first().click();
  await page.getByText('no JSON', { exact: true }).waitFor();
  await audit(who, 'a dead letter');
  await page.getByRole('button', { name: 'Send back' }).click();
  await page.getByText('sent back to its queue').waitFor();
  // It fails again and is another dead letter. All that match are discarded.
  await until('the next dead letter', async () => { await page.reload(); return (await letter.count()) > 0; });
  await page.getByLabel('All on this page').check();
  await page.getByText('1 selected').waitFor();
  await page.getByRole('button', { name: 'Discard all that match' }).click();
  await page.getByRole('heading', { name: 'Discard 1 dead letter?' }).waitFor();
  await audit(who, 'discard dead letters');
  await page.getByRole('button', { name: 'Discard' }).click();
  await page.getByRole('heading', { name: '1 dead letter discarded' }).waitFor();
  await audit(who, 'dead letters discarded');
  await page.goto('/dashboard/operator/dead-letters?state=all');
  for (const path of ['profiles', 'system']) {
    await page.goto(`/dashboard/operator/${path}`);
    await audit(who, path);
    if (path === 'system') await page.getByRole('heading', { name: 'Processes' }).waitFor();
  }
  quiet(who);

  const wide = await visitor(browser, { colorScheme: 'dark', viewport: { width: 1280, height: 900 } });
  await signIn(wide, operatorKey);
  await audit(wide, 'tenants');
  await wide.page.getByRole('link', { name: 'Limits and keys of Acme' }).click();
  await wide.page.getByRole('heading', { name: 'Acme' }).waitFor();
  await audit(wide, 'tenant');
  await wide.page.keyboard.press('?');
  await wide.page.getByText('next and previous row of a list').waitFor();
  await wide.page.keyboard.press('Escape');
  await gone(wide);
  for (const path of ['dead-letters', 'profiles', 'system']) {
    await wide.page.goto(`/dashboard/operator/${path}`);
    await audit(wide, path);
  }
  quiet(wide);
}

/** A page that refreshes while its tenant is deleted says so, and stops. */
async function gone(who) {
  const { page } = who;
  const tenant = await api(operatorKey, 'POST', '/v1/tenants', { name: 'Short-lived', profile: 'standard' });
  await api(operatorKey, 'POST', `/v1/endpoints?tenant=${tenant.id}`, { name: 'CRM', url: 'http://127.0.0.1:9999/', event_types: ['*'] });
  await page.goto(`/dashboard/${tenant.id}/webhooks`);
  await page.getByRole('button', { name: 'Pause refreshing' }).waitFor();
  await api(operatorKey, 'DELETE', `/v1/tenants/${tenant.id}`);
  await page.getByText('This page is no longer available. Reload it.').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Pause refreshing' }).count(), 0);
  // The browser logs the 404 on its console.
  await until('the 404 on the console', () => who.said.length > 0);
  assert.equal(who.said.splice(0).length, 1);
}

async function withoutScripts(browser) {
  const who = await visitor(browser, { javaScriptEnabled: false });
  const { page } = who;
  const endpoint = await receiver();
  await signIn(who, world.standard.key);
  await page.getByRole('link', { name: 'Add the first webhook' }).click();
  await page.getByLabel('Name', { exact: true }).fill('plain');
  await page.getByLabel('Postback URL').fill(endpoint.url);
  await page.getByLabel('All events').check();
  await page.getByRole('button', { name: 'Create webhook' }).click();
  assert.match(await page.locator('#secret').textContent(), /^whsec_/);
  await page.getByRole('link', { name: 'Send a test' }).click();
  await page.getByRole('button', { name: 'Show sample' }).click();
  await page.getByLabel('Data').fill('{"mine": 1.50}');
  await page.getByRole('button', { name: 'Update the preview' }).click();
  await page.getByRole('region', { name: 'Body of the test' }).getByText('1.50').waitFor();
  assert.equal(endpoint.got.length, 0, 'a preview sends nothing');
  await page.getByRole('button', { name: 'Send test' }).click();
  await page.getByText('The endpoint answered 200 OK').waitFor();
  assert.match(endpoint.got[0].body.toString(), /"data":\{"mine":1\.50\}/);
  assert.match(await page.locator('time').first().textContent(), / UTC$/);
  quiet(who);
}

// An operator's bad night: a customer's endpoint is down, and a producer's messages are refused. The operator finds both, reads the
// causes, and puts them right.

import { strict as assert } from 'node:assert';
import { api, audit, inForce, operatorKey, quiet, receiver, run, signIn, until, visitor, world } from '../lib.mjs';

const { tenant: { id: tenant, key }, letters } = world;
const MISSED = 8;

await run(async (browser) => {
  const endpoint = await receiver();
  const hook = { name: 'Warehouse', url: endpoint.url, event_types: ['*'], retry_schedule_seconds: [3600] };
  const made = await api(key, 'POST', '/v1/endpoints', hook);
  await inForce(key, tenant, made.id);
  await endpoint.refuse();
  for (let n = 0; n < MISSED; n += 1) await api(key, 'POST', '/v1/publish', { type: 'parcel.sent', data: { n } });
  await until('an open breaker', async () => (await api(operatorKey, 'GET', '/v1/system/trouble')).breakers.length > 0);
  await until('the dead letters', async () => (await api(operatorKey, 'GET', '/v1/dead-letters')).data.length === letters + 1);

  const who = await visitor(browser, { colorScheme: 'dark' });
  await signIn(who, operatorKey);
  await who.page.getByRole('row', { name: /Northwind/ }).getByText('1 failing').waitFor();
  await audit(who, 'night: tenants');
  await brokenWebhook(who, endpoint);
  await refusedMessages(who, endpoint);
  await allWell(who);
  quiet(who);
});

/** From the system's page to the failing webhook, its cause, and its recovery. */
async function brokenWebhook(who, endpoint) {
  const { page } = who;
  await page.getByRole('link', { name: 'System', exact: true }).click();
  const failing = page.getByRole('region', { name: 'Webhooks with the most failures' });
  await failing.getByRole('row', { name: /Warehouse/ }).getByText('The connection failed.').waitFor();
  await page.getByRole('region', { name: 'Circuit breakers' }).getByRole('row', { name: /Warehouse/ }).getByText('open').waitFor();
  await audit(who, 'night: system');
  await page.getByRole('region', { name: 'Tenants with the most failures' }).getByRole('link', { name: 'Northwind' }).click();
  await page.getByRole('heading', { name: 'Northwind' }).waitFor();
  await audit(who, 'night: tenant');
  await page.getByRole('link', { name: 'Show its webhooks' }).click();
  await page.getByText('The connection failed. Check that the server is running').waitFor();
  await page.getByRole('link', { name: 'Warehouse', exact: true }).click();
  const problem = page.getByRole('note', { name: 'Problem' });
  await problem.getByText('Failing since').waitFor();
  await problem.getByText('One attempt is made at a time until one succeeds.').waitFor();
  await audit(who, 'night: webhook');
  await endpoint.accept();
  await problem.getByRole('link', { name: 'Recover' }).click();
  await page.getByRole('button', { name: /^Deliver \d+ events?$/ }).click();
  await page.getByText('The recovery has started').waitFor();
  await until('every event', () => new Set(endpoint.got.map(({ headers }) => headers['webhook-id'])).size === MISSED);
}

/** The dead letters: their cause is corrected at the tenant, those of this cause are sent back, and the rest is discarded. */
async function refusedMessages(who, endpoint) {
  const { page } = who;
  await page.getByRole('link', { name: 'Dead letters', exact: true }).click();
  await page.getByRole('checkbox', { name: 'Select dead letter' }).nth(letters).waitFor();
  await audit(who, 'night: dead letters');
  await page.getByRole('link', { name: /is not in the catalog/ }).first().click();
  await page.getByRole('link', { name: 'Northwind' }).click();
  await page.getByLabel('Refuse events whose type is not in the catalog').uncheck();
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved.').waitFor();

  await page.getByRole('link', { name: 'Dead letters', exact: true }).click();
  await page.getByLabel('Reason contains').fill('not in the catalog');
  await page.getByRole('button', { name: 'Filter' }).click();
  await page.waitForURL(/reason=/);
  assert.equal(await page.getByRole('checkbox', { name: 'Select dead letter' }).count(), letters, 'the other one is filtered out');
  await page.getByRole('button', { name: 'Send back all that match' }).click();
  await page.getByRole('heading', { name: `Send back ${letters} dead letters?` }).waitFor();
  await audit(who, 'night: send back all');
  await page.getByRole('button', { name: 'Send back' }).click();
  await page.getByRole('heading', { name: `${letters} dead letters sent back` }).waitFor();
  await until('the events of the letters', () => endpoint.got.filter(({ body }) => body.includes('invoice.printed')).length === letters);

  await page.getByRole('link', { name: 'Dead letters', exact: true }).click();
  await page.getByLabel('All on this page').check();
  await page.getByText('1 selected').waitFor();
  await page.getByRole('button', { name: 'Discard selected' }).click();
  await page.getByRole('button', { name: 'Discard' }).click();
  await page.getByRole('heading', { name: '1 dead letter discarded' }).waitFor();
}

async function allWell(who) {
  const { page } = who;
  await page.getByRole('link', { name: 'Dead letters', exact: true }).click();
  await page.getByText('No open dead letters').waitFor();
  // The page refreshes itself.
  await page.getByRole('link', { name: 'System', exact: true }).click();
  await page.getByText('All are closed.').waitFor();
  await page.locator('.tiles > div', { hasText: 'Failing webhooks' }).locator('.tile-value', { hasText: /^0$/ }).waitFor();
  await audit(who, 'night: system, all well');
  await page.getByRole('link', { name: 'Tenants', exact: true }).click();
  assert.equal(await page.getByText(/\d failing/).count(), 0);
}

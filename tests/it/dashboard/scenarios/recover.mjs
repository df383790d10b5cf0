// A customer's endpoint breaks. They see since when and why, mend it, and recover everything in two clicks.

import { strict as assert } from 'node:assert';
import { api, audit, inForce, quiet, receiver, run, signIn, until, visitor, world } from '../lib.mjs';

const { id: tenant, key } = world.standard;
const at = `/dashboard/${tenant}`;

/** Looks at a page in every way in which visitors see it. */
async function everywhere(browser, name, path) {
  for (const width of [1280, 390]) {
    for (const colorScheme of ['light', 'dark']) {
      const who = await visitor(browser, { viewport: { width, height: 900 }, colorScheme });
      await signIn(who, key);
      await who.page.goto(path);
      await audit(who, name);
      quiet(who);
      await who.context.close();
    }
  }
}

await run(async (browser) => {
  const endpoint = await receiver();
  const made = await api(key, 'POST', '/v1/endpoints', { name: 'Orders', url: endpoint.url, event_types: ['*'], retry_schedule_seconds: [3600] });
  await api(key, 'POST', '/v1/endpoints', { name: 'Healthy', url: `${endpoint.url}/healthy`, event_types: ['none.of.these'] });
  await inForce(key, tenant, made.id);
  endpoint.answer.status = 503;
  for (let n = 0; n < 6; n += 1) await api(key, 'POST', '/v1/publish', { type: 'order.paid', data: { n } });
  await until('six failures', async () => (await api(key, 'GET', `/v1/endpoints/${made.id}`)).health.failures_in_a_row === 6);

  await everywhere(browser, 'failing list', `${at}/webhooks`);
  await everywhere(browser, 'failing webhook', `${at}/webhooks/${made.id}`);
  await everywhere(browser, 'recover', `${at}/webhooks/${made.id}/recover`);
  await everywhere(browser, 'retrying deliveries', `${at}/deliveries?status=retrying`);

  // Without scripts, two deliveries are retried by hand. The receiver is still broken.
  const plain = await visitor(browser, { javaScriptEnabled: false });
  await signIn(plain, key);
  await plain.page.goto(`${at}/deliveries?status=retrying`);
  const boxes = plain.page.getByRole('checkbox');
  assert.equal(await boxes.count(), 6);
  await boxes.nth(0).check();
  await boxes.nth(1).check();
  await plain.page.getByRole('button', { name: 'Retry selected' }).click();
  await plain.page.getByRole('heading', { name: '2 deliveries retried' }).waitFor();
  quiet(plain);
  await until('eight failures', async () => (await api(key, 'GET', `/v1/endpoints/${made.id}`)).health.failures_in_a_row === 8);

  const who = await visitor(browser);
  const { page } = who;
  await signIn(who, key);
  await page.goto(`${at}/deliveries?status=retrying`);
  await page.getByLabel('All on this page').check();
  await page.getByText('6 selected').waitFor();
  await page.goto(`${at}/webhooks`);
  await page.getByText('It answers 503 Service Unavailable').waitFor();
  const link = page.getByRole('link', { name: '6 deliveries with failures' });
  await link.click();
  await page.getByRole('heading', { name: 'Deliveries' }).waitFor();
  assert.equal(await page.locator('#deliveries tbody tr').count(), 6, 'the count leads to what it counts');
  await page.locator('#deliveries tbody th a').first().click();
  await page.getByRole('note', { name: 'Problem' }).getByText('Failing since').waitFor();

  // The receiver is mended: two clicks.
  endpoint.answer.status = 200;
  const before = endpoint.got.length;
  await page.goto(`${at}/webhooks`);
  await page.getByRole('link', { name: 'Recover Orders' }).click();
  await page.getByRole('button', { name: 'Deliver 6 events' }).click();
  await page.getByRole('heading', { name: 'Replay: recovery of Orders' }).waitFor();
  await audit(who, 'recovery');
  await until('all events', () => endpoint.got.length === before + 6);
  const arrived = new Set(endpoint.got.slice(before).map((request) => request.headers['webhook-id']));
  assert.equal(arrived.size, 6, 'each event once');
  await until('a healthy webhook', async () => (await api(key, 'GET', `/v1/endpoints/${made.id}`)).health.state === 'healthy');
  await page.goto(`${at}/webhooks`);
  await page.getByText('active').first().waitFor();
  assert.equal(await page.locator('.trouble-line').count(), 0, 'nothing is left to recover');
  endpoint.answer.status = 503;
  await fromAnEmptyList(who);
  quiet(who);
});

/** A list that was empty when it was opened: the rows of a refresh can be chosen. */
async function fromAnEmptyList(who) {
  const { page } = who;
  await page.goto(`${at}/deliveries?status=cancelled`);
  const retry = page.getByRole('button', { name: 'Retry selected' });
  assert.equal(await retry.isVisible(), false, 'nothing can be chosen in an empty list');
  const { id: event } = await api(key, 'POST', '/v1/publish', { type: 'order.paid', data: {} });
  const delivery = await until('the failed attempt', async () => (await api(key, 'GET', `/v1/deliveries?event_id=${event}&phase=retrying`)).data[0]);
  await api(key, 'POST', `/v1/deliveries/${delivery.id}/cancel`);
  const box = page.getByRole('checkbox', { name: 'Select the delivery of order.paid' });
  await box.check();
  await box.press('Enter');
  await page.getByText('1 selected').waitFor();
  await retry.click();
  await page.getByRole('heading', { name: 'Retry 1 delivery?' }).waitFor();
  await audit(who, 'retry of finished deliveries');
  await page.getByRole('link', { name: 'Back' }).click();
  await page.getByRole('heading', { name: 'Deliveries' }).waitFor();
}

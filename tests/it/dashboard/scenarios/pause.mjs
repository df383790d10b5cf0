// A customer pauses a webhook, sees what waits, skips it once, and resumes the webhook.

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
  const made = await api(key, 'POST', '/v1/endpoints', { name: 'Orders', url: endpoint.url, event_types: ['*'] });
  await inForce(key, tenant, made.id);
  const webhook = `${at}/webhooks/${made.id}`;
  const read = () => api(key, 'GET', `/v1/endpoints/${made.id}`);
  const publish = async (count) => {
    const ids = [];
    for (let n = 0; n < count; n += 1) ids.push((await api(key, 'POST', '/v1/publish', { type: 'order.paid', data: { n } })).id);
    await until(`${count} waiting deliveries`, async () => (await read()).set_aside?.deliveries === count);
    return ids;
  };
  const before = endpoint.got.length;

  const who = await visitor(browser);
  const { page } = who;
  await signIn(who, key);
  await page.goto(webhook);
  await page.getByRole('button', { name: 'Pause' }).first().click();
  await page.getByText('Its deliveries wait until you resume it.').waitFor();
  assert.equal((await read()).status, 'paused');

  const [first] = await publish(3);
  await everywhere(browser, 'paused webhook', webhook);
  await everywhere(browser, 'list with a paused webhook', `${at}/webhooks`);
  await everywhere(browser, 'skip', `${webhook}/skip`);
  await everywhere(browser, 'waiting deliveries', `${at}/deliveries?status=paused`);
  await page.goto(webhook);
  await page.getByText('3 deliveries wait until it is resumed.').waitFor();
  await page.goto(`${at}/events/${first}`);
  await page.locator('#why summary').filter({ hasText: 'Fired' }).click();
  await page.locator('details.why summary').first().click();
  await page.locator('#why').getByText('is sent after you resume it').waitFor();
  await page.locator('#why').getByRole('link', { name: 'Delivery', exact: true }).click();
  await page.getByRole('heading', { name: 'Attempts' }).or(page.getByText('is sent after you resume it')).first().waitFor();
  await page.getByText('No attempt yet').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Attempt now' }).count(), 0, 'a retry would be refused');

  // Without scripts: skip what waits.
  const plain = await visitor(browser, { javaScriptEnabled: false });
  await signIn(plain, key);
  await plain.page.goto(webhook);
  await plain.page.getByRole('link', { name: 'Skip what waits' }).click();
  await plain.page.getByText('3 deliveries wait and are discarded.').waitFor();
  await plain.page.getByRole('button', { name: 'Skip what waits' }).click();
  await plain.page.getByText('What waited is discarded now.').waitFor();
  quiet(plain);
  await until('nothing to wait', async () => (await api(key, 'GET', '/v1/deliveries?phase=paused')).data.length === 0);

  await publish(2);
  await page.goto(webhook);
  await page.getByText('2 deliveries wait until it is resumed.').waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByText('What waited is sent now, beginning with the oldest.').waitFor();
  await until('what waited', () => endpoint.got.length === before + 2);
  assert.equal((await read()).status, 'active');
  quiet(who);
});

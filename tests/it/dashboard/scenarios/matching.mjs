// A customer cancels all deliveries that match a filter: the question counts them, and the steps follow each other by themselves.

import { strict as assert } from 'node:assert';
import { api, audit, inForce, quiet, receiver, run, signIn, until, visitor, world } from '../lib.mjs';

const { id: tenant, key } = world.standard;
/** More than the 200 of one step. */
const EVENTS = 260;

await run(async (browser) => {
  const target = await receiver();
  Object.assign(target.answer, { status: 503, body: 'moving' });
  const hook = { name: 'Order desk', url: target.url, event_types: ['order.paid'], retry_schedule_seconds: [3600] };
  const made = await api(key, 'POST', '/v1/endpoints', hook);
  await inForce(key, tenant, made.id);
  for (let sent = 0; sent < EVENTS; sent += 65) {
    const events = Array.from({ length: 65 }, (_, n) => ({ type: 'order.paid', data: { n: sent + n } }));
    await api(key, 'POST', '/v1/publish/batch', { events });
  }
  const count = async () => (await api(key, 'POST', '/v1/deliveries/cancel', { filter: { endpoint_id: made.id }, dry_run: true })).matching;
  await until('all deliveries', async () => (await count()).pending === EVENTS);

  const who = await visitor(browser);
  const { page } = who;
  await signIn(who, key);
  await page.goto(`/dashboard/${tenant}/deliveries?endpoint_id=${made.id}&status=pending`);
  await page.getByRole('link', { name: 'Cancel all that match…' }).click();
  await page.getByRole('heading', { name: `Cancel ${EVENTS} deliveries?` }).waitFor();
  await audit(who, 'the question before all that match are cancelled');
  let steps = 0;
  page.on('request', (request) => { if (request.method() === 'POST') steps += 1; });
  await page.getByRole('button', { name: 'Cancel deliveries' }).click();
  await page.getByRole('heading', { name: `${EVENTS} deliveries cancelled` }).waitFor();
  await audit(who, 'all that match were cancelled');
  assert.equal(steps, 2, 'the second step follows by itself');
  assert.deepEqual(await count(), { pending: 0, ended: 0, delivered: 0, more: false });
  await page.getByRole('link', { name: 'Back to the list' }).click();
  await page.getByText('No deliveries match').waitFor();
  quiet(who);
});

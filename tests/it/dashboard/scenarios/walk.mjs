// Each product's customer in a frame of the product's page: the first webhook, a test, an outage, its cause, and the recovery.

import { strict as assert } from 'node:assert';
import { api, audit, inForce, operatorKey, receiver, run, until, visitor, world } from '../lib.mjs';
import { asPage, productPage, unexpected } from '../frame.mjs';
import { PRODUCTS } from '../products.mjs';

const { tenants, origin } = world;
/// Events that a customer misses.
const MISSED = 6;
/// Clicks from the list of webhooks to the proof that everything arrived.
const CLICKS_MAX = 5;

const answers = (status) => ({
  start: (endpoint) => { endpoint.answer.status = status; },
  stop: (endpoint) => { endpoint.answer.status = 200; },
});
// How each customer's endpoint breaks, what the list says about it, and what the page of a delivery says.
const OUTAGES = {
  migma: { ...answers(404), listed: 'It answers 404 Not Found. Check the path of the webhook\'s URL.', cause: 'The endpoint answered 404 Not Found' },
  migomail: {
    start: (endpoint) => endpoint.refuse(), stop: (endpoint) => endpoint.accept(),
    listed: 'The connection failed. Check that the server is running', cause: 'The connection failed.',
  },
  metigan: { ...answers(500), listed: 'It answers 500 Internal Server Error: the server failed.', cause: 'The endpoint answered 500 Internal Server Error' },
  magnetite: { ...answers(401), listed: 'It answers 401 Unauthorized: it refused the request.', cause: 'The endpoint answered 401 Unauthorized' },
  mumara: {
    start: (endpoint) => { endpoint.answer.never = true; }, stop: (endpoint) => { endpoint.answer.never = false; },
    listed: 'No answer arrived in time. Answer with 200 at once', cause: 'No answer arrived in time.',
  },
};

await run(async (browser) => {
  const link = async (path) => {
    const { id } = tenants[path.slice(1)];
    return (await api(operatorKey, 'POST', `/v1/tenants/${id}/portal-links`, { embed: true, user: 'jane@example.com' })).url;
  };
  const server = await productPage(origin, link);
  try {
    await Promise.all(Object.keys(PRODUCTS).map(async (name) => {
      try {
        await walk(browser, name);
      } catch (error) {
        throw new Error(name, { cause: error });
      }
    }));
  } finally {
    server.close();
  }
});

/** The frame of the product's page, in which each click counts. */
function framed(page) {
  const frame = page.frameLocator('iframe');
  let clicks = 0;
  const click = async (locator) => { clicks += 1; await locator.click(); };
  return { frame, click, clicks: () => clicks };
}

async function walk(browser, name) {
  const [product, tenant, outage] = [PRODUCTS[name], tenants[name], OUTAGES[name]];
  const who = await visitor(browser, product.screen);
  const { page } = who;
  const look = async (what) => audit({ page: asPage(page), look: who.look }, `${name} ${what}`);
  const endpoint = await receiver();
  await page.goto(`${origin}/${name}`);
  await firstWebhook(page.frameLocator('iframe'), { product, endpoint, look });

  // The endpoint breaks while the customer is away.
  const [{ id }] = (await api(tenant.key, 'GET', '/v1/endpoints')).data;
  await inForce(tenant.key, tenant.id, id);
  await outage.start(endpoint);
  const got = endpoint.got.length;
  await missEvents({ product, tenant, id });

  const started = Date.now();
  const visit = framed(page);
  const { frame } = visit;
  await page.goto(`${origin}/${name}`);
  await frame.locator('.trouble-line').getByText(outage.listed).waitFor();
  await look('list of a failing webhook');
  await visit.click(frame.getByRole('link', { name: /with failures$/ }));
  await visit.click(frame.locator('#deliveries tbody th a').first());
  await frame.locator('#delivery').getByText(outage.cause).first().waitFor();
  await look('failed delivery');
  await outage.stop(endpoint);
  await visit.click(frame.getByRole('note', { name: 'Problem' }).getByRole('link', { name: /recover$/i }));
  await frame.getByRole('heading', { name: /not delivered since/ }).waitFor();
  await look('recovery, counted');
  await visit.click(frame.getByRole('button', { name: /deliver \d+ events?$/i }));
  await frame.getByText('The recovery has started').waitFor();
  await look('recovery, started');
  await arrived(endpoint, got);
  await visit.click(frame.getByRole('link', { name: 'Webhooks', exact: true }));
  await frame.locator('.trouble-line').waitFor({ state: 'detached' });
  await frame.getByText('active', { exact: true }).first().waitFor();
  const seconds = (Date.now() - started) / 1000;
  console.log(`${name}: cause, repair and recovery in ${visit.clicks()} clicks and ${seconds.toFixed(1)} s`);
  assert.ok(visit.clicks() <= CLICKS_MAX && seconds < 60, `${name}: ${visit.clicks()} clicks, ${seconds} s`);
  await look('list after the recovery');
  const refused = unexpected(who, origin);
  assert.deepEqual(refused, []);
  await who.context.close();
}

/** The empty list, the form of the first webhook, and a test. */
async function firstWebhook(frame, { product, endpoint, look }) {
  await frame.getByText('No webhooks yet').waitFor();
  await look('empty list');
  await frame.getByRole('link', { name: 'Add the first webhook' }).click();
  await frame.getByLabel('Name', { exact: true }).fill('CRM integration');
  await frame.getByLabel('Postback URL').fill(endpoint.url);
  for (const type of product.types) await frame.locator(`input[name=event_types][value="${type}"]`).check();
  // With these, no retry comes between the repair and the recovery, and an endpoint that does not answer fails soon.
  await frame.getByLabel('Retry after').fill('1h');
  await frame.getByLabel('Timeout in seconds').fill('1');
  await look('new webhook');
  await frame.getByRole('button', { name: 'Create webhook' }).click();
  await frame.locator('#secret').waitFor();
  await look('secret');
  await frame.getByRole('link', { name: 'Send a test' }).click();
  await frame.getByRole('button', { name: 'Send test' }).click();
  await frame.getByText('The endpoint answered 200 OK').waitFor();
  assert.equal(endpoint.got.length, 1, 'the test arrived');
  await look('test');
}

/** The product publishes events that do not reach the endpoint. */
async function missEvents({ product, tenant, id }) {
  for (let n = 0; n < MISSED; n += 1) await api(tenant.key, 'POST', '/v1/publish', product.event);
  await until('the outage in the health', async () => {
    const { health } = await api(tenant.key, 'GET', `/v1/endpoints/${id}`);
    return health.state === 'failing';
  });
  await until('the events in the history', async () => (await api(tenant.key, 'GET', '/v1/events')).data.length === MISSED);
}

/** Waits until each missed event has arrived. */
async function arrived(endpoint, before) {
  const ids = () => new Set(endpoint.got.slice(before).filter(({ answered }) => answered === 200).map(({ headers }) => headers['webhook-id']));
  await until('every missed event', () => ids().size === MISSED);
}

// Text from outside is shown as text on every page.

import { strict as assert } from 'node:assert';
import { api, audit, inForce, operatorKey, quiet, receiver, run, signIn, until, visitor, world } from '../lib.mjs';

const EVIL = '"><img src=x onerror="pwned=1"><script>pwned=1</script></pre>';
const { id: tenant, key } = world.standard;

await run(async (browser) => {
  // The webhook's own header differs from what the endpoint answers: an answer that repeats it is masked.
  const endpoint = await receiver();
  endpoint.answer.headers = { 'x-evil': EVIL };
  endpoint.answer.body = `</code></pre>${EVIL}`;
  const made = await api(key, 'POST', '/v1/endpoints', {
    name: EVIL, description: EVIL, url: `${endpoint.url}?a="><script>pwned=1</script>`, event_types: ['*'],
    filters: { bridge: [EVIL] }, headers: { 'x-own': `own ${EVIL} of-its-own` }, payload_filter: { not: { field: 'data.a', op: 'eq', value: EVIL } },
  });
  await inForce(key, tenant, made.id);
  await api(key, 'PUT', '/v1/event-types/own.type', { description: EVIL, sample: { [EVIL]: EVIL }, schema: { title: EVIL } });
  const published = await api(key, 'POST', '/v1/publish', {
    type: 'a.b', data: { [EVIL]: EVIL }, metadata: { x: EVIL }, attributes: { bridge: EVIL, other: EVIL },
  });
  await until('the delivery', () => endpoint.got.length === 1);
  const delivery = await until('its record', async () => (await api(key, 'GET', '/v1/deliveries?status=delivered')).data[0]);

  const who = await visitor(browser);
  await signIn(who, operatorKey);
  const { page } = who;
  const letter = await until('the dead letter', async () => (await api(operatorKey, 'GET', '/v1/dead-letters')).data[0]);
  await until('the value of the filter', async () => (await api(key, 'GET', '/v1/attributes/bridge')).data.length >= 1);
  const at = `/dashboard/${tenant}`;
  await page.goto(`${at}/views/new?list=events&query=order%3Doldest`);
  await page.getByLabel('Name').fill(EVIL);
  await page.getByRole('button', { name: 'Save view' }).click();
  const view = new URL(await page.getByRole('link', { name: 'Edit view' }).getAttribute('href'), page.url()).pathname.slice(at.length);
  const search = encodeURIComponent(`a=${EVIL}`);
  const pages = [
    ['/webhooks', true], ['/webhooks/new', true], [`/webhooks/${made.id}`, true], [`/webhooks/${made.id}/edit`, true],
    [`/webhooks/${made.id}/delete`, true], [`/webhooks/${made.id}/test`, true], [`/webhooks/${made.id}/rotate`, true],
    [`/webhooks/${made.id}/held-keys`, true],
    ['/deliveries', true], [`/deliveries/${delivery.id}`, true], ['/events', true], [`/events/${published.id}`, true],
    ['/health', true], ['/replays/new', true], ['/erasures', false], ['/erasures/new', false], ['/event-types', false], ['/event-types/own.type', true],
    [`/event-types?q=${encodeURIComponent(EVIL)}`, true], [`/event-types/${encodeURIComponent(EVIL)}`, false], [`/find?q=${encodeURIComponent(EVIL)}`, true],
    [`/deliveries?type=${encodeURIComponent(EVIL)}&status_code=${encodeURIComponent(EVIL)}`, false],
    [`/events?attributes.bridge=${encodeURIComponent(EVIL)}`, true],
    [`/replays/new?event_types=${encodeURIComponent(EVIL)}&count=yes`, true],
    [`/webhooks?notice=${encodeURIComponent(EVIL)}`, true],
    [`/events?payload=${search}`, true], [`/find?q=${search}`, true], [view, true], [`${view}/delete`, true],
    [`/views/new?list=events&query=${encodeURIComponent(`payload=${search}`)}`, false],
  ].map(([path, named]) => [at + path, named]);
  pages.push(['/dashboard/operator/dead-letters', false], [`/dashboard/operator/dead-letters/${letter.id}`, false],
    [`/dashboard/operator/dead-letters?reason=${encodeURIComponent(EVIL)}`, false], [`/dashboard/operator/tenants?q=${encodeURIComponent(EVIL)}`, false],
    ['/dashboard/operator/system', false], [`/dashboard/operator/tenants/${tenant}`, false], [`/dashboard/${encodeURIComponent(EVIL)}/x`, false]);
  for (const [path, named] of pages) {
    const answer = await page.goto(path);
    assert.ok(answer.status() < 500, `${answer.status()} of ${path}`);
    // The browser logs every 4xx on its console.
    if (answer.status() >= 400) who.said.splice(0, 1);
    const found = await page.evaluate(() => ({
      ran: globalThis.pwned, planted: document.querySelectorAll('img, script:not([src]), [onerror], [style]').length,
    }));
    assert.deepEqual(found, { ran: undefined, planted: 0 }, path);
    if (named) assert.ok((await page.content()).includes('onerror=&quot;') || (await page.content()).includes('&lt;img src=x'), `${path} shows it`);
    await audit(who, path);
  }
  await page.goto(`${at}/deliveries/${delivery.id}`);
  for (const summary of await page.locator('.timeline details > summary, details.attempt > summary').all()) await summary.click();
  await page.locator('.timeline').getByText(`</code></pre>${EVIL}`).waitFor();
  await page.getByRole('row', { name: 'x-evil' }).getByText(EVIL).waitFor();
  quiet(who);
});

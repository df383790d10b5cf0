// Every kind of page with plausible content: its look, and the pictures of the README and the documentation. Without the variable
// DASHBOARD_PICTURES, one look is checked; with it, a picture of every page is saved in every look.

import { mkdir } from 'node:fs/promises';
import { api, audit, inForce, operatorKey, quiet, receiver, run, signIn, until, visitor, world } from '../lib.mjs';

const folder = process.env.DASHBOARD_PICTURES;
const { plain, branded, letters } = world;
const LOGO = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="6" fill="#0b7a5c"/>
  <path d="M6 16V8l6 5 6-5v8" fill="none" stroke="#fff" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round"/></svg>`;
const BRAND = {
  name: 'Meadow Mail', accent: '#0b7a5c', logo: `data:image/svg+xml;base64,${Buffer.from(LOGO).toString('base64')}`,
  docs_url: 'https://docs.meadow.example/webhooks', support_url: 'mailto:help@meadow.example',
};
const WEBHOOKS = [
  { name: 'CRM: opens and clicks', path: '/crm', event_types: ['email.opened', 'email.clicked', 'email.bounced'] },
  { name: 'Data warehouse', path: '/warehouse', event_types: ['*'] },
  { name: 'Order desk', path: '/orders', event_types: ['order.*'], filters: { sending_domain: ['shop.example.com'] }, status: 503 },
  { name: 'Support inbox', path: '/support', event_types: ['email.complained'], status: 410 },
  { name: 'Accounting', path: '/accounting', event_types: ['order.paid'], pausedLater: true },
  { name: 'Bounces in #mail', event_types: ['mailbox.full'], channel: 'slack', chat: { webhook_url: `https://hooks.slack.com/services/T01/B01/${'x'.repeat(24)}` } },
  { name: 'Staging', path: '/staging', event_types: ['*'], inactive: true },
];
const EVENTS = [
  { type: 'email.opened', data: { recipient: 'jane@example.com', campaign: 'Spring letter', device: 'mobile', opens: 3 } },
  { type: 'email.clicked', data: { recipient: 'li.wei@example.org', campaign: 'Spring letter', url: 'https://example.com/offers?ref=mail' } },
  { type: 'order.paid', data: { order: 'A-10442', total: { amount: '149.00', currency: 'EUR' }, items: [{ sku: 'TEA-250', quantity: 2 }, { sku: 'CUP-01', quantity: 1 }], gift: false, note: null } },
  { type: 'email.bounced', data: { recipient: 'old@example.net', kind: 'hard', reply: '550 5.1.1 no such user' } },
  { type: 'order.shipped', data: { order: 'A-10407', carrier: 'Parcel Post', tracking: 'PP 4471 0093 22' } },
  { type: 'email.complained', data: { recipient: 'max@example.com', campaign: 'Spring letter' } },
];
const CODE = { type: 'code.sent', data: { code: '471108', to: 'jane@example.com' } };

/** Fills a tenant's history. Returns the addresses of its pages by name. */
async function fill({ id: tenant, key }, brand) {
  const endpoint = await receiver();
  const made = [];
  const targets = {};
  for (const { path, status, inactive, pausedLater, ...hook } of WEBHOOKS) {
    const target = status ? await receiver() : endpoint;
    Object.assign(target.answer, { status: status ?? 200, body: status ? '{"error":"the database is being moved"}' : 'ok' });
    const url = path && target.url.replace('/hook', path);
    targets[path] = target;
    const added = await api(key, 'POST', '/v1/endpoints', { ...hook, url, retry_schedule_seconds: [600, 3600], status: inactive ? 'inactive' : 'active' });
    if (pausedLater) await api(key, 'PATCH', `/v1/endpoints/${added.id}`, { status: 'paused' });
    made.push(added);
  }
  const [crm, , desk, support, paused, chat] = made;
  await api(key, 'PUT', '/v1/event-types/order.paid', {
    description: 'A customer paid an order', sample: EVENTS[2].data, schema: { type: 'object', required: ['order'], properties: { order: { type: 'string' } } },
  });
  await api(key, 'PUT', '/v1/event-types/code.sent', { description: 'A code to sign in was sent', ttl_seconds: 300, sample: CODE.data });
  await inForce(key, tenant, made.at(-1).id);
  const ids = [];
  for (let round = 0; round < 6; round += 1) {
    for (const event of EVENTS) ids.push((await api(key, 'POST', '/v1/publish', { ...event, attributes: { sending_domain: 'shop.example.com' } })).id);
  }
  const code = await api(key, 'POST', '/v1/publish', CODE);
  const scheduled = await api(key, 'POST', '/v1/publish', { ...CODE, deliver_at: new Date(Date.now() + 7_200_000).toISOString() });
  const one = async (query) => (await api(key, 'GET', `/v1/deliveries?${query}`)).data[0];
  const failed = await until('a failed attempt', () => one(`endpoint_id=${desk.id}&failed_attempts=true`));
  await until('a failing webhook', async () => (await api(key, 'GET', `/v1/endpoints/${desk.id}`)).health.state === 'failing');
  await until('a disabled webhook', async () => (await api(key, 'GET', `/v1/endpoints/${support.id}`)).status === 'disabled');
  await until('the deliveries', async () => (await api(key, 'GET', '/v1/stats')).total.attempts >= 2_000);
  // Another attempt, which gets another answer.
  const twice = (await api(key, 'GET', `/v1/deliveries?endpoint_id=${desk.id}&failed_attempts=true&order=oldest`)).data[0];
  Object.assign(targets['/orders'].answer, { status: 500, body: '{"error":"the database is away"}', headers: { 'x-request': '7f3a' } });
  await api(key, 'POST', `/v1/deliveries/${twice.id}/retry`);
  await until('a second attempt', async () => (await api(key, 'GET', `/v1/deliveries/${twice.id}`)).attempts.length > 1);
  const delivered = await one(`endpoint_id=${crm.id}&status=delivered`);
  await api(key, 'POST', `/v1/deliveries/${delivered.id}/retry`);
  const replay = await api(key, 'POST', '/v1/replays', { endpoint_id: crm.id, mode: 'redeliver', from: new Date(Date.now() - 3_600_000).toISOString() });
  await until('the replay', async () => (await api(key, 'GET', `/v1/replays/${replay.id}`)).status === 'finished');
  await until('waiting deliveries', async () => (await api(key, 'GET', `/v1/endpoints/${paused.id}`)).set_aside?.deliveries === 6);
  const due = await until('a scheduled delivery', () => one(`event_id=${scheduled.id}`));
  const waiting = await until('a waiting delivery', () => one(`endpoint_id=${paused.id}`));
  const pages = {
    webhooks: '/webhooks', 'new webhook': '/webhooks/new', webhook: `/webhooks/${crm.id}`, 'failing webhook': `/webhooks/${desk.id}`,
    'disabled webhook': `/webhooks/${support.id}`, 'edit webhook': `/webhooks/${desk.id}/edit`, test: `/webhooks/${crm.id}/test`,
    rotate: `/webhooks/${crm.id}/rotate`, recover: `/webhooks/${desk.id}/recover`, delete: `/webhooks/${desk.id}/delete`,
    deliveries: '/deliveries', 'failed deliveries': `/deliveries?endpoint_id=${desk.id}&failed_attempts=true`, delivery: `/deliveries/${delivered.id}`,
    'failing delivery': `/deliveries/${failed.id}`, 'attempted twice': `/deliveries/${twice.id}`,
    'retry all that match': `/matching-deliveries/retry?endpoint_id=${desk.id}&status_code=5xx`,
    'cancel all that match': `/matching-deliveries/cancel?endpoint_id=${desk.id}`, 'nothing to cancel': '/matching-deliveries/cancel?status=failed', events: '/events', event: `/events/${ids[2]}`, expunge: `/events/${ids[2]}/expunge`,
    'event types': '/event-types', 'event type': '/event-types/order.paid', replays: '/replays', replay: `/replays/${replay.id}`,
    'new replay': `/replays/new?event_id=${ids[0]}&event_id=${ids[1]}`, health: '/health', 'health of a webhook': `/health?endpoint_id=${desk.id}`,
    'audit log': '/audit-log', find: '/find?q=order', 'nothing found': '/find?q=nothing+like+it', 'no deliveries': '/deliveries?status=cancelled',
  };
  // A brand changes nothing about these.
  const more = {
    'paused webhook': `/webhooks/${paused.id}`, skip: `/webhooks/${paused.id}/skip`, 'chat webhook': `/webhooks/${chat.id}`, 'edit chat': `/webhooks/${chat.id}/edit`,
    'new chat': '/webhooks/new?channel=slack', 'new telegram': '/webhooks/new?channel=telegram', 'test chat': `/webhooks/${chat.id}/test`,
    'paused deliveries': '/deliveries?status=paused', 'paused delivery': `/deliveries/${waiting.id}`, 'scheduled delivery': `/deliveries/${due.id}`,
    'expiring event': `/events/${code.id}`, 'scheduled event': `/events/${scheduled.id}`, 'expiring event type': '/event-types/code.sent',
    'searched events': '/events?payload=data.campaign%3DSpring*', cancel: `/deliveries/${waiting.id}/cancel`,
  };
  const shown = brand ? pages : { ...pages, ...more };
  return Object.fromEntries(Object.entries(shown).map(([name, path]) => [name, `/dashboard/${tenant}${path}`]));
}

/** The operator's pages, once there are dead letters. */
async function operatorPages() {
  const list = await until('the dead letters', async () => {
    const { data } = await api(operatorKey, 'GET', '/v1/dead-letters');
    return data.length === letters ? data : null;
  });
  const at = (path) => `/dashboard/operator/${path}`;
  return {
    tenants: at('tenants'), tenant: at(`tenants/${branded.id}`), 'dead letters': at('dead-letters'), 'dead letter': at(`dead-letters/${list[0].id}`),
    profiles: at('profiles'), system: at('system'), 'audit log of all': at('audit-log'),
  };
}

/** Looks at pages in one look. */
async function look(browser, pages, { key, of, ...options }) {
  const who = await visitor(browser, options);
  await who.page.goto('/dashboard/sign-in');
  await audit(who, `${of} sign-in`);
  await signIn(who, key);
  for (const [name, path] of Object.entries(pages)) {
    await who.page.goto(path);
    await audit(who, `${of} ${name}`);
  }
  quiet(who);
  await who.context.close();
}

/** The pictures of the documentation: the file, the page, the theme and the height. */
const DOCS = [
  ['dashboard-webhooks', 'webhooks', 'light', 900],
  ['dashboard-delivery', 'failing delivery', 'light', 900],
  ['dashboard-branded', 'failing webhook', 'light', 760],
  ['dashboard-health', 'health', 'dark', 1480],
  ['dashboard-system', 'system', 'dark', 900],
];

/** The pictures of the documentation: the upper part of a page. */
async function docs(browser, sets) {
  for (const [file, name, colorScheme, height] of DOCS) {
    const { pages, key } = sets[file] ?? sets.plain;
    const who = await visitor(browser, { colorScheme, viewport: { width: 1280, height } });
    await signIn(who, key);
    await who.page.goto(pages[name]);
    await who.page.screenshot({ path: `${folder}/docs/${file}.png` });
    quiet(who);
    await who.context.close();
  }
}

/** The picture of a page in German with the words of a product. The tenant keeps them, so this is the last picture. */
async function german(browser, { pages, key }) {
  const who = await visitor(browser, { viewport: { width: 1280, height: 1000 } });
  await signIn(who, key);
  const brand = { ...BRAND, language: 'de', terms: { webhook: 'Postback', webhooks: 'Postbacks' } };
  await api(operatorKey, 'PATCH', `/v1/tenants/${branded.id}`, { brand });
  await who.page.goto(pages.webhook);
  await who.page.getByRole('heading', { name: 'Letzte 24 Stunden' }).waitFor();
  await who.page.screenshot({ path: `${folder}/docs/dashboard-german.png` });
  quiet(who);
  await who.context.close();
}

await run(async (browser) => {
  await api(operatorKey, 'PATCH', `/v1/tenants/${branded.id}`, { brand: BRAND });
  const sets = {
    plain: { pages: await fill(plain), key: plain.key, of: 'plain' },
    'dashboard-branded': { pages: await fill(branded, BRAND), key: branded.key, of: 'branded' },
    'dashboard-system': { pages: await operatorPages(), key: operatorKey, of: 'operator' },
  };
  if (!folder) {
    for (const { pages, ...set } of Object.values(sets)) {
      await look(browser, pages, { ...set, colorScheme: 'dark', viewport: { width: 390, height: 844 } });
    }
    return;
  }
  await mkdir(`${folder}/docs`, { recursive: true });
  await docs(browser, sets);
  for (const viewport of [{ width: 1280, height: 900 }, { width: 390, height: 844 }]) {
    for (const colorScheme of ['light', 'dark']) {
      for (const { pages, ...set } of Object.values(sets)) await look(browser, pages, { ...set, colorScheme, viewport });
    }
  }
  await german(browser, sets['dashboard-branded']);
});

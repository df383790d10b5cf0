// What visitors do to forms: back and submit again, two tabs, and a network that is lost. Nothing is done twice, and no input is lost.
// Every form is checked without a browser in `all_forms` of the dashboard's tests; these forms stand for their kinds.

import { strict as assert } from 'node:assert';
import { api, audit, inForce, operatorKey, quiet, run, signIn, until, visitor, world } from '../lib.mjs';

const { id: tenant, key } = world.standard;
const at = `/dashboard/${tenant}`;
const hook = (name) => ({ name, url: 'http://127.0.0.1:9999/', event_types: ['*'] });

/** Waits until the browser has logged a refused form on its console, and forgets the message. */
async function refusalLogged(who) {
  await until('the refusal on the console', () => who.said.length > 0);
  assert.equal(who.said.splice(0).length, 1);
}

const webhooks = async () => (await api(key, 'GET', '/v1/endpoints')).data.map(({ name }) => name).sort();

await run(async (browser) => {
  const edited = await api(key, 'POST', '/v1/endpoints', hook('Edited'));
  const deleted = await api(key, 'POST', '/v1/endpoints', hook('Deleted'));
  await inForce(key, tenant, deleted.id);
  await back(browser);
  await twoTabs(browser, edited, deleted);
  await offline(browser);
});

/** The visitor returns to a form that was sent, and sends it again. */
async function back(browser) {
  const who = await visitor(browser);
  const { page } = who;
  await signIn(who, key);
  const before = await webhooks();
  await page.goto(`${at}/webhooks/new`);
  await page.getByLabel('Name', { exact: true }).fill('Once');
  await page.getByLabel('Postback URL').fill('http://127.0.0.1:9999/');
  await page.getByLabel('All events').check();
  await page.getByRole('button', { name: 'Create webhook' }).click();
  await page.getByRole('heading', { name: 'Webhook created' }).waitFor();
  await page.goBack();
  await page.getByRole('heading', { name: 'Add webhook' }).waitFor();
  await page.getByRole('button', { name: 'Create webhook' }).click();
  await page.getByRole('heading', { name: 'Webhook created' }).or(page.getByText('Fix the following:')).first().waitFor();
  assert.deepEqual(await webhooks(), [...before, 'Once'].sort(), 'the same form makes no second webhook');
  who.said.splice(0);

  // A question that was answered: its answer is no longer possible, and the page says why.
  const { id } = await api(key, 'POST', '/v1/endpoints', hook('Gone'));
  await page.goto(`${at}/webhooks/${id}/delete`);
  await page.getByRole('button', { name: 'Delete webhook' }).click();
  await page.getByText('The webhook was deleted').waitFor();
  await page.goBack();
  await page.getByRole('heading', { name: 'Not found' }).or(page.getByText('no such endpoint')).first().waitFor();
  who.said.splice(0);
  await who.context.close();
}

/** Two tabs with the same form: the older copy is refused, keeps its input, and nothing is overwritten. */
async function twoTabs(browser, edited, deleted) {
  const who = await visitor(browser);
  const { page, context } = who;
  await signIn(who, key);
  const other = await context.newPage();
  const edit = `${at}/webhooks/${edited.id}/edit`;
  await page.goto(edit);
  await other.goto(edit);
  await other.getByLabel('Name', { exact: true }).fill('Edited in the other tab');
  await other.getByRole('button', { name: 'Save' }).click();
  await other.getByText('Saved.').waitFor();
  await page.getByLabel('Description').fill('typed in the first tab');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('This changed since you opened it').waitFor();
  assert.equal(await page.getByLabel('Description').inputValue(), 'typed in the first tab', 'the input is kept');
  await refusalLogged(who);
  await audit(who, 'edit of an old copy');
  assert.equal((await api(key, 'GET', `/v1/endpoints/${edited.id}`)).name, 'Edited in the other tab');

  await page.goto(`${at}/webhooks/${deleted.id}/delete`);
  await other.goto(`${at}/webhooks/${deleted.id}/delete`);
  await other.getByRole('button', { name: 'Delete webhook' }).click();
  await other.getByText('The webhook was deleted').waitFor();
  await page.getByRole('button', { name: 'Delete webhook' }).click();
  await page.getByText('no such endpoint').waitFor();
  await refusalLogged(who);
  await audit(who, 'delete of what is gone');
  quiet(who);
  await context.close();

  const operator = await visitor(browser);
  await signIn(operator, operatorKey);
  const [one, two] = [operator.page, await operator.context.newPage()];
  for (const tab of [one, two]) await tab.goto(`/dashboard/operator/tenants/${tenant}`);
  for (const [tab, limit] of [[two, '40'], [one, '50']]) {
    await tab.getByLabel('Webhooks', { exact: true }).fill(limit);
    await tab.getByRole('button', { name: 'Save' }).click();
    await tab.getByText(tab === two ? 'Saved.' : 'This changed since you opened it').waitFor();
  }
  await refusalLogged(operator);
  assert.equal((await api(operatorKey, 'GET', `/v1/tenants/${tenant}`)).limits.endpoints, 40);
  await operator.context.close();
}

/** The network is lost while a form is filled in: nothing is sent, the page says so, and keeps the input. */
async function offline(browser) {
  const who = await visitor(browser);
  const { page, context } = who;
  await signIn(who, key);
  await page.goto(`${at}/webhooks/new`);
  await page.getByLabel('Name', { exact: true }).fill('Typed in a tunnel');
  await page.getByLabel('Postback URL').fill('http://127.0.0.1:9999/');
  await page.getByLabel('All events').check();
  await context.setOffline(true);
  await page.getByRole('button', { name: 'Create webhook' }).click();
  await page.getByRole('alert').getByText('You are offline').waitFor();
  await audit(who, 'offline');
  assert.equal(await page.getByLabel('Name', { exact: true }).inputValue(), 'Typed in a tunnel');
  await context.setOffline(false);
  await page.getByRole('alert').getByText('You are offline').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Create webhook' }).click();
  await page.getByRole('heading', { name: 'Webhook created' }).waitFor();
  assert.equal((await webhooks()).filter((name) => name === 'Typed in a tunnel').length, 1);

  // A list that refreshes says that the server does not answer, and continues later.
  await page.goto(`${at}/webhooks`);
  await context.setOffline(true);
  await page.getByText('The server does not answer. Retrying.').waitFor();
  await page.getByRole('switch', { name: 'Active: Typed in a tunnel' }).click();
  await page.getByRole('alert').getByText('You are offline').waitFor();
  await context.setOffline(false);
  await page.getByText('The server does not answer. Retrying.').waitFor({ state: 'detached' });
  // The browser logs each request that failed.
  const others = who.said.filter((text) => !text.includes('ERR_INTERNET_DISCONNECTED'));
  assert.deepEqual(others, []);
  await context.close();
}

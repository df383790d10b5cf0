// An operator signs in with a real OpenID Connect provider: the npm package `oidc-provider`, which is certified. It tells the
// e-mail address in the user info only.

import { strict as assert } from 'node:assert';
import { pathToFileURL } from 'node:url';
import { audit, base, modules, quiet, run, visitor, world } from '../lib.mjs';

const { default: Provider } = await import(pathToFileURL(modules.resolve('oidc-provider')));

await run(async (browser) => {
  const provider = new Provider(world.issuer, {
    clients: [{
      client_id: 'postrider',
      client_secret: world.secret,
      redirect_uris: [`${base}/dashboard/sign-in/oidc/callback`],
    }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, name: id }),
    }),
    pkce: { required: () => true },
  });
  const { hostname, port } = new URL(world.issuer);
  const server = provider.listen(Number(port), hostname);
  try {
    await operator(browser);
    await stranger(browser);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

/** Fills in the forms of the provider. */
async function atProvider(page, login) {
  await page.getByPlaceholder('Enter any login').fill(login);
  await page.getByPlaceholder('and password').fill('any');
  await page.getByRole('button', { name: 'Sign-in' }).click();
  await page.getByRole('button', { name: 'Continue' }).click();
}

/** Drops what the provider's own pages cause: requests to it, and fonts that it loads. */
function withoutProvider(who) {
  const others = who.said.filter((text) => ![world.issuer, 'fonts.googleapis.com'].some((own) => text.includes(own)));
  who.said.splice(0, Infinity, ...others);
}

async function operator(browser) {
  const who = await visitor(browser);
  const { page, context } = who;
  await page.goto('/dashboard/operator/system');
  await audit(who, 'sign-in with a provider');
  await page.getByRole('link', { name: 'Sign in with the test provider' }).click();
  await atProvider(page, 'jane');
  await page.waitForURL('**/dashboard/operator/system');
  await page.goto('/dashboard/operator/audit-log');
  await page.getByText('jane@example.com (dashboard)').first().waitFor();

  // The session ends while a form is filled in.
  await page.goto(`/dashboard/${world.tenant.id}/webhooks/new`);
  await page.getByLabel('Name', { exact: true }).fill('Half of a webhook');
  await page.getByLabel('Postback URL').fill('https://example.com/hook');
  const session = (await context.cookies(`${base}/dashboard`)).find(({ name }) => name === 'postrider_session');
  await context.clearCookies({ name: session.name });
  await page.getByRole('button', { name: 'Create webhook' }).click();
  await page.getByText('Your session has ended').waitFor();
  await audit(who, 'session ended, with a provider');
  assert.equal(who.said.splice(0).filter((text) => text.includes('401')).length, 1);
  await page.getByRole('button', { name: 'Sign in with the test provider' }).click();
  await page.getByText('Your session had ended, so nothing was saved').waitFor();
  assert.equal(await page.getByLabel('Name', { exact: true }).inputValue(), 'Half of a webhook');
  await page.goto('/dashboard');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  withoutProvider(who);
  quiet(who);
}

async function stranger(browser) {
  const who = await visitor(browser, { viewport: { width: 390, height: 844 }, colorScheme: 'dark' });
  const { page } = who;
  await page.goto('/dashboard/sign-in');
  await page.getByRole('link', { name: 'Sign in with the test provider' }).click();
  await atProvider(page, 'joe');
  await page.getByText('joe@example.com, but this account is not an operator here').waitFor();
  await audit(who, 'not an operator');
  const refused = who.said.filter((text) => text.includes('403'));
  assert.equal(refused.length, 1);
}

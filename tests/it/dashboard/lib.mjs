// Shared by the scenarios: a browser that fails a scenario on errors that a visitor must never see, and a receiver.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { strict as assert } from 'node:assert';

export const base = process.env.DASHBOARD_BASE;
export const operatorKey = process.env.DASHBOARD_OPERATOR;
export const world = JSON.parse(process.env.DASHBOARD_WORLD);
export const modules = createRequire(`${process.env.DASHBOARD_MODULES}/`);
const { chromium } = modules('playwright-core');
const axe = modules('axe-core').source;
const PATIENCE_MS = 120_000;
/// A folder for a picture of every page; without it no pictures are saved.
const pictures = process.env.DASHBOARD_PICTURES;
/// The rules of WCAG 2.2 AA that a program can check.
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

const slowest = { ms: 0, path: '' };

/** Runs `scenario` with a browser; the process ends with 1 when it failed. */
export async function run(scenario) {
  const browser = await chromium.launch({ executablePath: process.env.DASHBOARD_BROWSER, args: ['--no-sandbox'] });
  try {
    await scenario(browser);
    console.log(`slowest page: ${slowest.path} in ${slowest.ms.toFixed(0)} ms`);
  } catch (error) {
    console.error(error);
    await describe(browser);
    process.exitCode = 1;
  } finally {
    await browser.close();
    for (const server of servers) { server.close(); server.closeAllConnections(); }
  }
}

/** Prints what every page and frame shows, so that a failure can be understood. */
async function describe(browser) {
  const frames = browser.contexts().flatMap((context) => context.pages()).flatMap((page) => page.frames());
  for (const frame of frames) {
    const text = await frame.evaluate(() => document.body.innerText.slice(0, 1_000)).catch(String);
    console.error(`--- ${frame.url()} shows:\n${text}`);
  }
}

/** A visitor with a browser context. `said` collects messages that must not appear, see `quiet`. */
export async function visitor(browser, options = {}) {
  const context = await browser.newContext({ baseURL: base, timezoneId: 'Europe/Berlin', locale: 'en-GB', ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const said = [];
  const look = `${options.viewport?.width ?? 1280} ${options.colorScheme ?? 'light'}`;
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) said.push(`console: ${message.text()} at ${page.url()}`); });
  page.on('pageerror', (error) => said.push(`error: ${error.message} at ${page.url()}`));
  page.on('dialog', (dialog) => { said.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('request', (request) => { if (!request.url().startsWith(base)) said.push(`left the server: ${request.url()}`); });
  page.on('response', (response) => {
    const path = new URL(response.url()).pathname;
    if (response.status() >= 500) said.push(`${response.status()} of ${path}`);
    response.finished().then(() => {
      const ms = response.request().timing().responseStart - response.request().timing().requestStart;
      // A test waits for the receiver's server.
      if (path.startsWith('/dashboard') && !path.endsWith('/test') && ms > slowest.ms) Object.assign(slowest, { ms, path });
    }).catch(() => {});
  });
  return { context, page, said, look };
}

/** Asserts that the console is empty, the policy was not violated, and nothing was loaded from another server. */
export function quiet({ said }) {
  assert.deepEqual(said, []);
}

/** Asserts that axe-core finds no violation of WCAG 2.2 A or AA on this page, that no two elements have the same id, and that it does not scroll sideways. */
export async function audit({ page, look }, name) {
  if (pictures) await page.screenshot({ path: `${pictures}/${look} ${name.replaceAll('/', ' ').slice(0, 100)}.png`, fullPage: true });
  await page.evaluate(axe);
  const found = await page.evaluate((rules) => globalThis.axe.run(document, { runOnly: rules, resultTypes: ['violations'] }), RULES);
  const told = found.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((node) => `${node.html} ${node.failureSummary}`).join(' | ')}`);
  assert.deepEqual(told, [], `${name} (${page.url()})`);
  const twice = await page.evaluate(() => [...document.querySelectorAll('[id]')].map(({ id }) => id).filter((id, at, all) => all.indexOf(id) !== at));
  assert.deepEqual(twice, [], `ids of two elements of ${name} (${page.url()})`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  const beyond = wide > 0 ? await page.evaluate(() => [...document.querySelectorAll('main *:not(thead *, .unseen)')]
    .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth)
    .slice(-3).map((element) => element.outerHTML.slice(0, 200))) : [];
  assert.ok(wide <= 0, `${name} is ${wide} px wider than its window (${page.url()}): ${beyond.join(' | ')}`);
}

/** Signs in with a key. */
export async function signIn({ page }, key) {
  await page.goto('/dashboard');
  await page.getByLabel('API key').fill(key);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
}

/** Calls the HTTP API. */
export async function api(key, method, path, body, headers = {}) {
  const answer = await fetch(base + path, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text === '' ? null : JSON.parse(text);
}

/** Repeats `look` until it finds something, and returns it. */
export async function until(what, look) {
  const started = Date.now();
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() - started > PATIENCE_MS) throw new Error(`timed out while waiting for ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

/** Waits until fan-out matches events by the last edit of an endpoint. */
export async function inForce(key, tenant, id) {
  const { version } = await api(key, 'GET', `/v1/endpoints/${id}?tenant=${tenant}`);
  await until(`configuration ${version} in force`, async () => {
    const metrics = await (await fetch(`${base}/metrics`)).text();
    const line = metrics.split('\n').find((text) => text.startsWith('postrider_fanout_config_version'));
    return line && Number(line.split(' ').pop()) >= version;
  });
}

const servers = [];

/**
 * A receiver on loopback that keeps its requests and sends `answer`. With `answer.never`, it does not answer. Between `refuse` and
 * `accept`, it refuses connections.
 */
export async function receiver() {
  const got = [];
  const answer = { status: 200, headers: {}, body: 'thanks', never: false };
  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const answered = answer.never ? null : answer.status;
      got.push({ headers: request.headers, body: Buffer.concat(chunks), url: request.url, answered });
      if (!answer.never) response.writeHead(answer.status, answer.headers).end(answer.body);
    });
  });
  const listen = (port) => new Promise((resolve) => { server.listen(port, '127.0.0.1', resolve); });
  await listen(0);
  servers.push(server);
  const { port } = server.address();
  const refuse = () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });
  return { url: `http://127.0.0.1:${port}/hook`, got, answer, refuse, accept: () => listen(port) };
}

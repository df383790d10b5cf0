// The checks of each product's receivers, implemented from the products' documentation.
// argv: the product. Each line of stdin is {"secret", "headers", "body": base64}; prints true or false for each.
'use strict';
const { createHmac, timingSafeEqual } = require('node:crypto');

const hmac = (key, message, encoding) => createHmac('sha256', key).update(message).digest(encoding);

const same = (given, computed) => {
  const [a, b] = [Buffer.from(given), Buffer.from(computed)];
  return a.length === b.length && timingSafeEqual(a, b);
};

const rules = {
  // The signature covers the parsed body, serialised again, because express.json() does not keep the bytes.
  migma: ({ secret, headers, body }) =>
    same(headers['x-migma-signature'], hmac(secret, JSON.stringify(JSON.parse(body.toString('utf8'))), 'hex')),

  migomail: ({ secret, headers, body }) =>
    same(headers['x-migomail-signature'], 'sha256=' + hmac(secret, body, 'hex')),

  metigan: ({ secret, headers, body }) => {
    const parts = headers['x-webhook-signature'].split(',');
    const value = (prefix) => parts.find((part) => part.startsWith(prefix)).slice(prefix.length);
    const timestamp = parseInt(value('t='), 10);
    if (Math.floor(Date.now() / 1000) - timestamp > 300) return false;
    return same(value('v1='), hmac(secret, `${timestamp}.${body.toString('utf8')}`, 'hex'));
  },

  magnetite: ({ secret, headers, body }) => {
    const given = Buffer.from(headers['x-magnetite-signature'].replace('sha256=', ''), 'hex');
    return same(given, createHmac('sha256', secret).update(body).digest());
  },

  mumara: ({ secret, headers }) => same(headers['x-mumara-token'], secret),
};

// Standard Webhooks 1.0.0, whose headers every delivery has in addition to the product's own.
const standard = ({ secret, headers, body }) => {
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret, 'utf8');
  const signed = Buffer.concat([Buffer.from(`${headers['webhook-id']}.${headers['webhook-timestamp']}.`), body]);
  const expected = 'v1,' + hmac(key, signed, 'base64');
  return headers['webhook-signature'].split(' ').some((signature) => same(signature, expected));
};

const rule = rules[process.argv[1]] ?? standard;
for (const line of require('node:fs').readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const request = JSON.parse(line);
  request.body = Buffer.from(request.body, 'base64');
  console.log(rule(request));
}

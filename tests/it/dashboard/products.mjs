// The five products: their event types, an event, their signature, and the screen of their customer.

import { createHmac } from 'node:crypto';

const hex = (secret, bytes) => createHmac('sha256', secret).update(bytes).digest('hex');

// Each product's signature, implemented from its documentation.
export const PRODUCTS = {
  migma: {
    types: ['email.generation.completed', 'email.generation.failed'],
    event: { type: 'email.generation.completed', data: { conversationId: 'c1', subject: 'Grüße' } },
    genuine: ({ headers, body }, secret) => headers['x-migma-signature'] === hex(secret, body),
    screen: { colorScheme: 'light', viewport: { width: 1280, height: 900 } },
  },
  migomail: {
    types: ['email.opened', 'email.bounced'],
    event: { type: 'email.opened', data: { message_id: 'm1' } },
    genuine: ({ headers, body }, secret) => headers['x-migomail-signature'] === `sha256=${hex(secret, body)}`,
    screen: { colorScheme: 'dark', viewport: { width: 1280, height: 900 } },
  },
  metigan: {
    types: ['email.delivered'],
    event: { type: 'email.delivered', data: { recipient: 'jane@example.com' } },
    genuine: ({ headers, body }, secret) => {
      const [, time, given] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(headers['x-webhook-signature']);
      return given === hex(secret, Buffer.concat([Buffer.from(`${time}.`), body]));
    },
    screen: { colorScheme: 'light', viewport: { width: 390, height: 844 } },
  },
  magnetite: {
    types: ['lead.created'],
    event: { type: 'lead.created', data: { name: 'Jane' }, metadata: { organization_id: 'o1', project_id: 'p1', lead_id: 'l1' } },
    genuine: ({ headers, body }, secret) => headers['x-magnetite-signature'] === `sha256=${hex(secret, body)}`,
    screen: { colorScheme: 'dark', viewport: { width: 320, height: 640 } },
  },
  mumara: {
    types: ['Newsletter Opened', 'Bounced'],
    filter: ['Sending domain', 'mail.example.com'],
    event: {
      type: 'Newsletter Opened',
      data: { email: 'recipient@example.com', message_id: 'abc123' },
      attributes: { sending_domain: 'mail.example.com', sending_node: 'smtp1' },
    },
    genuine: ({ headers }, secret) => headers['x-mumara-token'] === secret,
    screen: { colorScheme: 'light', viewport: { width: 1600, height: 1000 } },
  },
};

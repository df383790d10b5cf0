// Automatic refreshes: a part marked data-live is fetched every two seconds (or every data-every milliseconds) and replaced when
// it has changed. Refreshing stops while the tab is hidden, while the part has the focus, a selection or a checked box, while it is paused, and
// when the server sends data-live="off".

const parts = [...document.querySelectorAll('[data-live]')].filter((part) => part.id && part.dataset.live !== 'off');
const EVERY_MS = 2000;
const framed = window.top !== window.self;

if (parts.length > 0) {
  const served = new Map(parts.map((part) => [part.id, part.dataset.served ?? '']));
  const every = Math.max(...parts.map((part) => Number(part.dataset.every ?? EVERY_MS)));
  let paused = false;
  let failures = 0;

  const bar = document.createElement('p');
  bar.className = 'live-bar';
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'quiet';
  const status = document.createElement('span');
  status.setAttribute('role', 'status');
  bar.append(button, status);
  // A row of buttons has no room for the bar.
  (parts.find((part) => !part.matches('.buttons')) ?? parts[0]).before(bar);
  const show = () => { button.textContent = paused ? 'Resume refreshing' : 'Pause refreshing'; };
  show();
  button.addEventListener('click', () => { paused = !paused; status.textContent = ''; show(); });

  const inUse = (part) => {
    const selection = document.getSelection();
    const selected = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
    // A refresh would clear the checkboxes of a list.
    if (part.querySelector('input[type=checkbox]:checked')) return true;
    return selected || (document.activeElement !== document.body && part.contains(document.activeElement));
  };

  /// A part as text, without the one-time tokens of its forms, which differ in each response.
  const comparable = (part) => part.outerHTML.replace(/(name="once" value=")[^"]*/g, '$1');

  /// Identifies a fold in a part: by the nearest id within the part, and its number below that.
  const place = (part, details) => {
    const named = details.closest('[id]');
    const root = named && part.contains(named) ? named : part;
    return `${root.id} ${[root, ...root.querySelectorAll('details')].indexOf(details)}`;
  };

  /// Shows that the session ended: the server redirected to the sign-in page, or refused the frame.
  const ended = () => {
    const link = document.createElement('a');
    if (framed) {
      status.textContent = 'Your session has ended. Reload the page to continue.';
      button.remove();
      return;
    }
    link.href = `/dashboard/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
    link.textContent = 'Sign in again';
    status.replaceChildren('Your session has ended. ', link, ' to continue.');
    button.remove();
  };

  /// Refreshes all parts. Returns false when there is nothing more to refresh.
  const refresh = async () => {
    // With this header the server may leave out the parts that do not refresh.
    const headers = { accept: 'text/html', 'x-postrider-live': 'yes' };
    // A frame has a session of its own, and browsers tell the server of the frame for pages only.
    if (framed) headers['x-postrider-frame'] = 'yes';
    const answer = await fetch(location.href, { headers, redirect: 'manual' });
    if (answer.type === 'opaqueredirect' || answer.status === 401) {
      ended();
      return false;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
    let changed = false;
    for (const part of parts) {
      const now = fresh.getElementById(part.id);
      if (!now) continue;
      const text = comparable(now);
      const before = served.get(part.id);
      served.set(part.id, text);
      if (before === text || inUse(part)) {
        if (before !== text) served.set(part.id, before);
        continue;
      }
      const open = new Set([...part.querySelectorAll('details[open]')].map((details) => place(part, details)));
      part.replaceChildren(...now.childNodes);
      for (const details of part.querySelectorAll('details')) if (open.has(place(part, details))) details.open = true;
      if (before !== '') changed = true;
      part.dispatchEvent(new CustomEvent('postrider:refreshed', { bubbles: true }));
      if (now.dataset.live === 'off') part.dataset.live = 'off';
    }
    if (changed) status.textContent = 'Updated.';
    return true;
  };

  const loop = async () => {
    if (!paused && !document.hidden) {
      try {
        if (!await refresh()) return;
        if (failures > 0) status.textContent = '';
        failures = 0;
      } catch {
        failures += 1;
        status.textContent = 'The server does not answer. Retrying.';
      }
    }
    if (parts.some((part) => part.dataset.live !== 'off')) setTimeout(loop, Math.min(every * 2 ** failures, 30000));
    else bar.remove();
  };
  setTimeout(loop, every);
}

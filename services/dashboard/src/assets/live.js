// Refreshes pages: a part marked data-live is fetched every two seconds (or every data-every milliseconds) and replaced when it
// has changed. Refreshing stops while the tab is hidden and while the visitor pauses it. It ends when the server sends
// data-live="off" or refuses the page. A part is not replaced while it contains the focus, a selection or a checked box.

const parts = [...document.querySelectorAll('[data-live]')].filter((part) => part.id && part.dataset.live !== 'off');
const EVERY_MS = 2000;
const framed = window.top !== window.self;
const NO_ANSWER = translated('The server does not answer. Retrying.');
const TOO_MANY = translated('Too many requests. Retrying.');
const UPDATED = translated('Updated.');
const IN_USE = translated('Refreshing waits while you use this part of the page.');

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
  // The bar is not placed before a row of buttons, which has no room for it.
  (parts.find((part) => !part.matches('.buttons')) ?? parts[0]).before(bar);
  const show = () => { button.textContent = paused ? translated('Resume refreshing') : translated('Pause refreshing'); };
  show();
  button.addEventListener('click', () => { paused = !paused; status.textContent = ''; show(); });
  /// Shows a status text, unless it is already shown: screen readers read the text each time it is set.
  const say = (text) => { if (status.textContent !== text) status.textContent = text; };

  const inUse = (part) => {
    const selection = document.getSelection();
    const selected = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
    // A refresh would clear the checkboxes of a list.
    if (part.querySelector('input[type=checkbox]:checked')) return true;
    return selected || (document.activeElement !== document.body && part.contains(document.activeElement));
  };

  /// The markup of a part, without the one-time tokens of its forms, because the tokens differ in each response.
  const comparable = (part) => part.outerHTML.replace(/(name="once" value=")[^"]*/g, '$1');

  /// A text that identifies a details element in a part: the id of the nearest element around it, and its number within that
  /// element.
  const place = (part, details) => {
    const named = details.closest('[id]');
    const root = named && part.contains(named) ? named : part;
    return `${root.id} ${[root, ...root.querySelectorAll('details')].indexOf(details)}`;
  };

  /// Shows that the session has ended. Called when the server redirects to the sign-in page or answers with 401.
  const ended = () => {
    const link = document.createElement('a');
    if (framed) {
      status.textContent = translated('Your session has ended. Reload the page to continue.');
      button.remove();
      return;
    }
    link.href = `/dashboard/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
    link.textContent = translated('Sign in again');
    const [before, after] = translated('Your session has ended. {link} to continue.').split('{link}');
    status.replaceChildren(before, link, after ?? '');
    button.remove();
  };

  /// Refreshes all parts. Returns false when refreshing must end.
  const refresh = async () => {
    // With this header the server may leave out the parts that do not refresh.
    const headers = { accept: 'text/html', 'x-postrider-live': 'yes' };
    // A frame has a session of its own. Browsers tell the server that a page is in a frame only when they request the page
    // itself.
    if (framed) headers['x-postrider-frame'] = 'yes';
    const answer = await fetch(location.href, { headers, redirect: 'manual' });
    if (answer.type === 'opaqueredirect' || answer.status === 401) {
      ended();
      return false;
    }
    if (answer.status === 403 || answer.status === 404) {
      say(translated('This page is no longer available. Reload it.'));
      button.remove();
      return false;
    }
    if (!answer.ok) throw new Error(answer.status === 429 ? TOO_MANY : NO_ANSWER);
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
    let [changed, waits] = [false, false];
    for (const part of parts) {
      const now = fresh.getElementById(part.id);
      if (!now) continue;
      const text = comparable(now);
      const before = served.get(part.id);
      if (before === text) continue;
      if (inUse(part)) {
        waits = true;
        continue;
      }
      served.set(part.id, text);
      const open = new Set([...part.querySelectorAll('details[open]')].map((details) => place(part, details)));
      part.replaceChildren(...now.childNodes);
      for (const details of part.querySelectorAll('details')) if (open.has(place(part, details))) details.open = true;
      if (before !== '') changed = true;
      part.dispatchEvent(new CustomEvent('postrider:refreshed', { bubbles: true }));
      if (now.dataset.live === 'off') part.dataset.live = 'off';
    }
    if (waits) say(IN_USE);
    else if (changed) say(UPDATED);
    else if (status.textContent !== UPDATED) say('');
    return true;
  };

  const loop = async () => {
    if (!paused && !document.hidden) {
      try {
        if (!await refresh()) return;
        failures = 0;
      } catch (error) {
        failures += 1;
        say(error.message === TOO_MANY ? TOO_MANY : NO_ANSWER);
      }
    }
    if (parts.some((part) => part.dataset.live !== 'off')) setTimeout(loop, Math.min(every * 2 ** failures, 30000));
    else bar.remove();
  };
  setTimeout(loop, every);
}

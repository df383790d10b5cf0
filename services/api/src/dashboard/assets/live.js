// What moves by itself: a part marked data-live is fetched again every two seconds and replaced when it has changed. It stops
// while the tab is hidden, while the focus or a selection is in it, when it is paused, and when the page says "off".

const parts = [...document.querySelectorAll('[data-live]')].filter((part) => part.id && part.dataset.live !== 'off');
const EVERY_MS = 2000;

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
  const said = document.createElement('span');
  said.setAttribute('role', 'status');
  bar.append(button, said);
  parts[0].before(bar);
  const show = () => { button.textContent = paused ? 'Resume refreshing' : 'Pause refreshing'; };
  show();
  button.addEventListener('click', () => { paused = !paused; said.textContent = ''; show(); });

  const inUse = (part) => {
    const selection = document.getSelection();
    const selected = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
    return selected || (document.activeElement !== document.body && part.contains(document.activeElement));
  };

  const refresh = async () => {
    const answer = await fetch(location.href, { headers: { accept: 'text/html' }, redirect: 'error' });
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
    let changed = false;
    for (const part of parts) {
      const now = fresh.getElementById(part.id);
      if (!now) continue;
      const text = now.outerHTML;
      const before = served.get(part.id);
      served.set(part.id, text);
      if (before === text || inUse(part)) {
        if (before !== text) served.set(part.id, before);
        continue;
      }
      const open = [...part.querySelectorAll('details')].map((details) => details.open);
      part.replaceChildren(...now.childNodes);
      part.querySelectorAll('details').forEach((details, index) => { if (open[index]) details.open = true; });
      if (before !== '') changed = true;
      part.dispatchEvent(new CustomEvent('postrider:refreshed', { bubbles: true }));
      if (now.dataset.live === 'off') part.dataset.live = 'off';
    }
    if (changed) said.textContent = 'Updated.';
  };

  const loop = async () => {
    if (!paused && !document.hidden) {
      try {
        await refresh();
        failures = 0;
      } catch {
        failures += 1;
        said.textContent = 'The server does not answer; trying again.';
      }
    }
    if (parts.some((part) => part.dataset.live !== 'off')) setTimeout(loop, Math.min(every * 2 ** failures, 30000));
    else bar.remove();
  };
  setTimeout(loop, every);
}

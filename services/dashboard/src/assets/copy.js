// Copy buttons. They remain hidden in browsers without a clipboard. A link marked data-copy-url opens a text. In browsers with a
// clipboard, it copies the text instead, or opens the text if the browser refuses to copy. Screen readers announce that the text
// was copied.

const framed = window.top !== window.self;
const canCopyLater = Boolean(navigator.clipboard && window.ClipboardItem);
const said = document.createElement('p');
said.className = 'unseen';
said.setAttribute('role', 'status');
document.body.append(said);

/// Changes the visible text of a button or link. The text for screen readers after it remains unchanged.
const rename = (button, label) => { button.firstChild.data = label; };

/// Shows for two seconds that a text was copied: on the button, and to screen readers.
const copied = (button, label) => {
  rename(button, translated('Copied'));
  said.textContent = translated('Copied');
  setTimeout(() => { rename(button, label); said.textContent = ''; }, 2000);
};

for (const button of document.querySelectorAll('[data-copy]')) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener('click', async () => {
    const source = button.parentElement.querySelector('output, code');
    try {
      await navigator.clipboard.writeText(source.textContent);
      copied(button, translated('Copy'));
    } catch {
      // A frame may not write to the clipboard unless the page around it allows that. The text is selected instead, for the
      // visitor to copy.
      document.getSelection().selectAllChildren(source);
    }
  });
}

const labelOf = (link) => link.dataset.copyUrl || translated('Copy');
const offer = (root) => {
  if (!canCopyLater) return;
  for (const link of root.querySelectorAll('a[data-copy-url]')) rename(link, labelOf(link));
};
offer(document);
document.addEventListener('postrider:refreshed', (event) => offer(event.target));

/// Fetches the text at an address.
const fetched = async (href) => {
  // A frame has a session of its own. Browsers tell the server that a page is in a frame only when they request the page itself.
  const answer = await fetch(href, { headers: { accept: 'text/plain', ...(framed && { 'x-postrider-frame': 'yes' }) } });
  // A redirect leads to the sign-in page.
  if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
  return new Blob([await answer.text()], { type: 'text/plain' });
};

document.addEventListener('click', async (event) => {
  const link = event.target.closest?.('a[data-copy-url]');
  if (!link || !canCopyLater || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  try {
    // Safari allows a write only during the click, so the write begins now, and the clipboard waits for the text.
    await navigator.clipboard.write([new ClipboardItem({ 'text/plain': fetched(link.href) })]);
    copied(link, labelOf(link));
  } catch {
    location.assign(link.href);
  }
});

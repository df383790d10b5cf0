// Copy buttons. They stay hidden in browsers without a clipboard. A link marked data-copy-url opens a text; with a clipboard it
// copies the text instead. Screen readers hear that it was copied.

const said = document.createElement('p');
said.className = 'unseen';
said.setAttribute('role', 'status');
document.body.append(said);

/// Shows on the button that its text was copied, and announces it.
const copied = (button, label) => {
  button.textContent = 'Copied';
  said.textContent = 'Copied';
  setTimeout(() => { button.textContent = label; said.textContent = ''; }, 2000);
};

for (const button of document.querySelectorAll('[data-copy]')) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener('click', async () => {
    const text = button.parentElement.querySelector('output, code').textContent;
    await navigator.clipboard.writeText(text);
    copied(button, 'Copy');
  });
}

const offer = (root) => {
  if (!navigator.clipboard) return;
  for (const link of root.querySelectorAll('a[data-copy-url]')) link.textContent = link.dataset.copyUrl || 'Copy';
};
offer(document);
document.addEventListener('postrider:refreshed', (event) => offer(event.target));

document.addEventListener('click', async (event) => {
  const link = event.target.closest?.('a[data-copy-url]');
  if (!link || !navigator.clipboard || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  try {
    const answer = await fetch(link.href, { headers: { accept: 'text/plain' } });
    // A redirect leads to the sign-in page.
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    await navigator.clipboard.writeText(await answer.text());
    copied(link, link.dataset.copyUrl || 'Copy');
  } catch {
    location.assign(link.href);
  }
});

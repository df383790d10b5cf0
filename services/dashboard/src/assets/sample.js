// The page that sends a test: shows the sample of another event type as soon as the visitor chooses it. Without this script, the
// visitor presses the button "Show sample", which also undoes edits.

const form = document.querySelector('form[data-sample]');
const part = form && document.getElementById(form.dataset.sample);
const framed = window.top !== window.self;

if (part) {
  const status = document.createElement('span');
  status.className = 'unseen';
  status.setAttribute('role', 'status');
  form.append(status);
  let latest = 0;

  // After a reload, the browser may restore another choice than the one whose sample the page shows.
  window.addEventListener('pageshow', () => {
    const shown = part.querySelector('input[name="event_type"]').value;
    if (shown) form.elements.event_type.value = shown;
  });

  /// Fetches the page with the chosen type and replaces the part with the sample.
  const show = async (address) => {
    latest += 1;
    const request = latest;
    // A frame has a session of its own. Browsers tell the server that a page is in a frame only when they request the page
    // itself.
    const headers = { accept: 'text/html', ...(framed && { 'x-postrider-frame': 'yes' }) };
    const answer = await fetch(address, { headers });
    // A redirect leads to the sign-in page.
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').getElementById(part.id);
    // The visitor may have chosen another type meanwhile.
    if (request !== latest) return;
    part.replaceChildren(...fresh.childNodes);
    history.replaceState(null, '', address);
    status.textContent = translated('The sample has changed.');
  };

  form.addEventListener('change', async () => {
    const address = new URL(form.action);
    address.search = new URLSearchParams(new FormData(form));
    status.textContent = '';
    // Otherwise a quick visitor would send the sample of the earlier type.
    for (const button of part.querySelectorAll('button')) button.disabled = true;
    try {
      await show(address.href);
    } catch {
      // The browser shows the page, or why it cannot.
      form.submit();
    }
  });
}

// Forms without a network. While the browser is offline, a form is not sent, because the browser's own error page would replace the
// page and lose the input. The page says so until the network is back.

let said = null;

document.addEventListener('submit', (event) => {
  const form = event.target;
  if (navigator.onLine || form.method === 'dialog' || event.submitter?.formMethod === 'dialog') return;
  event.preventDefault();
  said?.remove();
  said = document.createElement('p');
  said.className = 'problem';
  said.setAttribute('role', 'alert');
  said.textContent = translated('You are offline, so nothing was sent. Your input is kept: send it again when you are online.');
  // The buttons of a long form are at its end. A form in a list has no room for the text.
  if (form.matches('.stack')) form.append(said);
  else document.getElementById('main').prepend(said);
  said.scrollIntoView({ block: 'nearest' });
});

window.addEventListener('online', () => {
  said?.remove();
  said = null;
});

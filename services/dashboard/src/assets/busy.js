// Shows that a form is being processed: a button marked data-busy gets that text and cannot be pressed again until the next page
// is shown. Without this script, a second press gets the result of the first.

let pressed = null;

document.addEventListener('submit', (event) => {
  const button = event.submitter;
  if (!button?.dataset.busy || event.defaultPrevented) return;
  // The browser reads the fields after this event, and leaves out a disabled button.
  setTimeout(() => {
    pressed = { button, label: button.textContent };
    button.textContent = button.dataset.busy;
    for (const each of event.target.querySelectorAll('button')) each.disabled = true;
    const status = document.createElement('span');
    status.className = 'unseen';
    status.setAttribute('role', 'status');
    button.after(status);
    status.textContent = button.dataset.busy;
    pressed.status = status;
  });
});

// When the visitor goes back to the page, the browser may show it as it was left.
window.addEventListener('pageshow', (event) => {
  if (!event.persisted || !pressed) return;
  const { button, label, status } = pressed;
  button.textContent = label;
  status.remove();
  for (const each of button.form.querySelectorAll('button')) each.disabled = false;
  pressed = null;
});

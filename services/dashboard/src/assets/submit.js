// Submits a form marked data-submit, after the number of milliseconds that it says. A visitor who
// leaves the page in time stops it.

const waiting = document.querySelector('form[data-submit]');
if (waiting) setTimeout(() => waiting.submit(), Number(waiting.dataset.submit));

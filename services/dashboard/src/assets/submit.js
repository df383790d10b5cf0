// Submits a form marked data-submit, after the number of milliseconds that it says. A visitor who
// leaves the page stops it. It does not start again on a page to which the visitor returns.

const waiting = document.querySelector('form[data-submit]');
const [navigation] = performance.getEntriesByType('navigation');
if (waiting && navigation?.type === 'navigate') {
  const timer = setTimeout(() => waiting.submit(), Number(waiting.dataset.submit));
  addEventListener('pagehide', () => clearTimeout(timer));
}

// Writes the values under the pointer below the chart, in the visitor's time zone.

const format = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

document.addEventListener('pointerover', (event) => {
  const hit = event.target instanceof Element ? event.target.closest('.hit') : null;
  const output = hit?.closest('.chart')?.querySelector('[data-chart-value]');
  if (output) output.textContent = `${format.format(new Date(hit.dataset.at))}: ${hit.dataset.values}`;
});

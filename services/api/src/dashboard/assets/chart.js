// The values under the pointer, written below the chart in the visitor's zone.

const format = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

document.addEventListener('pointerover', (event) => {
  const hit = event.target instanceof Element ? event.target.closest('.hit') : null;
  const said = hit?.closest('.chart')?.querySelector('[data-chart-value]');
  if (said) said.textContent = `${format.format(new Date(hit.dataset.at))}: ${hit.dataset.said}`;
});

// Writes the values of an interval below its chart, in the visitor's time zone: of the interval under the pointer or a finger, or, while
// the chart has the focus, of the one that the left and right arrow keys choose.

const moment = new Intl.DateTimeFormat(pageLocale, { dateStyle: 'medium', timeStyle: 'short' });

// Days are in UTC, because the figures of a day cover a day in UTC.
const day = new Intl.DateTimeFormat(pageLocale, { dateStyle: 'medium', timeZone: 'UTC' });
const DAY_MS = 86400000;

const show = (interval) => {
  const { start, step } = interval.parentElement.dataset;
  const chart = interval.closest('.chart');
  const place = [...interval.parentElement.children].indexOf(interval);
  const at = new Date(Number(start) + place * Number(step));
  // The title begins with the time in UTC.
  const [, values] = interval.textContent.match(/ UTC: (.*)/);
  chart.querySelector('[data-chart-value]').textContent = `${(Number(step) === DAY_MS ? day : moment).format(at)}: ${values}`;
  chart.querySelectorAll('.hits .chosen').forEach((other) => other.classList.remove('chosen'));
  interval.classList.add('chosen');
};

document.addEventListener('pointerover', (event) => {
  const interval = event.target instanceof Element ? event.target.closest('.hits path') : null;
  if (interval) show(interval);
});

document.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const chart = event.target instanceof Element && event.target.matches('.chart-scroll') ? event.target : null;
  if (!step || !chart || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const intervals = [...chart.querySelectorAll('.hits path')];
  if (intervals.length === 0) return;
  const chosen = intervals.findIndex((interval) => interval.classList.contains('chosen'));
  const last = intervals.length - 1;
  const next = chosen < 0 ? (step > 0 ? 0 : last) : Math.min(Math.max(chosen + step, 0), last);
  event.preventDefault();
  show(intervals[next]);
  intervals[next].scrollIntoView({ block: 'nearest', inline: 'nearest' });
});

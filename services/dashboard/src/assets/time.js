// Shows times in the visitor's time zone, with UTC on hover. The server writes every <time> in UTC.

const full = new Intl.DateTimeFormat(pageLocale, { dateStyle: 'medium', timeStyle: 'medium' });
const clock = new Intl.DateTimeFormat(pageLocale, { hour: '2-digit', minute: '2-digit' });

// Days are in UTC, because the figures of a day cover a day in UTC.
const day = new Intl.DateTimeFormat(pageLocale, { day: 'numeric', month: 'short', timeZone: 'UTC' });

const relative = new Intl.RelativeTimeFormat(pageLocale, { numeric: 'auto', style: 'short' });
const UNITS = [['day', 86400], ['hour', 3600], ['minute', 60]];
const AGO_EVERY_MS = 15000;

/// The time from now to `at`, such as "3 min ago". It contains no seconds, so that the text changes at most once a minute.
const distance = (at) => {
  const seconds = (at.getTime() - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? [];
  if (unit) return relative.format(Math.trunc(seconds / size), unit);
  return seconds > 0 ? translated('in < 1 min') : translated('just now');
};

/// Shows how long ago a time in a list was. The exact time is the title, and also hidden text for screen readers.
const showAgo = (element) => {
  const at = new Date(element.dateTime);
  if (Number.isNaN(at.getTime())) return;
  const exact = document.createElement('span');
  exact.className = 'unseen';
  exact.textContent = `, ${full.format(at)}`;
  element.title = `${full.format(at)} (${element.dateTime.replace('T', ' ').replace(/(\.\d+)?Z$/, '')} UTC)`;
  element.replaceChildren(distance(at), exact);
};

export function localise(root) {
  for (const element of root.querySelectorAll('time[datetime]:not([data-ago])')) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    element.title = `${element.dateTime.replace('T', ' ').replace(/(\.\d+)?Z$/, '')} UTC`;
    element.textContent = full.format(at);
  }
  root.querySelectorAll('time[data-ago]').forEach(showAgo);
  for (const element of root.querySelectorAll('[data-clock]')) {
    element.textContent = clock.format(new Date(element.dataset.clock));
  }
  for (const element of root.querySelectorAll('[data-day]')) {
    element.textContent = day.format(new Date(element.dataset.day));
  }
}

localise(document);
setInterval(() => {
  const selection = document.getSelection();
  if (document.hidden || (selection && !selection.isCollapsed)) return;
  document.querySelectorAll('time[data-ago]').forEach(showAgo);
}, AGO_EVERY_MS);
document.addEventListener('postrider:refreshed', (event) => localise(event.target));

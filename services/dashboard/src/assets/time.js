// Shows times in the visitor's time zone, with UTC on hover. The server writes every <time> in UTC.

const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

// Days are in UTC, because the figures of a day are.
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', timeZone: 'UTC' });

export function localise(root) {
  for (const element of root.querySelectorAll('time[datetime]')) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    element.title = `${element.dateTime.replace('T', ' ').replace(/(\.\d+)?Z$/, '')} UTC`;
    element.textContent = full.format(at);
  }
  for (const element of root.querySelectorAll('[data-clock]')) {
    element.textContent = clock.format(new Date(element.dataset.clock));
  }
  for (const element of root.querySelectorAll('[data-day]')) {
    element.textContent = day.format(new Date(element.dataset.day));
  }
}

localise(document);
document.addEventListener('postrider:refreshed', (event) => localise(event.target));

// Times in the visitor's zone, with UTC on hover. Every <time> was written in UTC by the server.

const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

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
}

localise(document);
document.addEventListener('postrider:refreshed', (event) => localise(event.target));

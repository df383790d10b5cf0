// The search in the event types of a form.

for (const picker of document.querySelectorAll('[data-pick]')) {
  const search = picker.querySelector('[data-pick-search]');
  const input = search.querySelector('input');
  const count = search.querySelector('[data-pick-count]');
  const items = [...picker.querySelectorAll('[data-pick-item]')];
  search.hidden = items.length < 6;
  input.addEventListener('input', () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of items) {
      const matches = words.every((word) => item.dataset.pickItem.toLowerCase().includes(word));
      // Checked types remain visible.
      item.hidden = !matches && !item.querySelector('input').checked;
      if (matches) shown += 1;
    }
    count.textContent = words.length > 0 ? translated('{shown} of {total} match', { shown, total: items.length }) : '';
  });
  // Without this, the return key would send the form.
  input.addEventListener('keydown', (event) => { if (event.key === 'Enter') event.preventDefault(); });
}

// Adds two things to the form of a list: a checkbox that checks all boxes, and the number of checked boxes. Without scripts, both
// are absent.

for (const form of document.querySelectorAll('[data-select]')) {
  const holder = form.querySelector('[data-select-all]');
  const all = holder.querySelector('input');
  const count = form.querySelector('[data-select-count]');
  const boxes = () => [...document.querySelectorAll(`input[form="${form.id}"][name="${form.dataset.select}"]`)];
  const show = () => {
    const checked = boxes().filter((box) => box.checked).length;
    all.checked = checked > 0 && checked === boxes().length;
    all.indeterminate = checked > 0 && !all.checked;
    count.textContent = checked > 0 ? translated('{number} selected', { number: checked }) : '';
  };
  holder.hidden = false;
  all.addEventListener('change', () => {
    for (const box of boxes()) box.checked = all.checked;
    show();
  });
  document.addEventListener('change', (event) => { if (event.target.form === form && event.target !== all) show(); });
  // When the visitor goes back to the page, the browser restores the checkboxes.
  window.addEventListener('pageshow', show);
}
